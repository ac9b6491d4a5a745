//! People who never were: the same number is always the same person.

use aggregates::user::Register;
use aggregates::values::{Boundary, Coordinates, Dialect, Email, FullName, GeoId, Locale, Phone, Standing, Username};
use serde_json::json;

use super::super::{DAY, country_at};
use crate::store::Store;

const FIRST: &str = "Abebe Ada Adrian Agnes Ahmed Aiko Alan Alejandra Alice Amara Amina Ana Anders Andrea Anja Antonio \
    Arjun Astrid Aylin Beatriz Ben Björn Camille Carlos Chen Chiara Chidi Clara Daniel David Deepa Diego Dmitri Elena \
    Elif Emeka Emil Emma Esra Fatima Felix Femi Fiona François Gabriel Giulia Grace Greta Hana Hans Hassan Henrik \
    Hiroshi Ibrahim Ines Ingrid Isabel Ivan Jamal Jan Jasmin Joan João Johanna John Jonas José Juan Julia Kaito \
    Kamala Karim Katarina Keiko Kofi Kwame Lars Laura Leila Lena Liam Linh Lucas Lucía Luis Maeve Magnus Malik Marco \
    Maria Marie Marta Mei Miguel Mohamed Monika Nadia Naomi Nguyễn Nia Nikolai Nina Noah Noor Oksana Olga Oliver Omar \
    Pablo Paul Pedro Petra Priya Rafael Rahul Rania Ravi Renée Rosa Ruth Sadia Sakura Samuel Sanne Sara Sofia Søren \
    Stefan Sunita Tariq Tatiana Thandi Thomas Tomás Uchenna Ursula Valentina Vera Viktor Wanjiru Wei William Xin Yara \
    Yasmin Yuki Yusuf Zahra Zainab Zoë";

const LAST: &str = "Abdullah Acheampong Adeyemi Ahmed Almeida Andersen Aquino Bakker Banerjee Bauer Becker Bello \
    Berg Bianchi Blanc Bondarenko Brown Cabrera Castillo Chanda Chatterjee Chen Choi Costa Cruz Dahl Dang Das Delgado \
    Demir Desai Diallo Diaz Dimitrov Dubois Eriksen Fernandes Ferrari Fischer Flores Fofana Fontaine Fraser Fujimoto \
    Garcia Gomez Gonzalez Goh Gupta Haddad Hansen Hashimoto Hernandez Herrera Hoang Hoffmann Horvath Hussain Ibrahim \
    Ito Ivanov Jansen Jensen Jones Kamau Kaplan Karlsson Kato Keita Khan Kim Klein Kovacs Kowalski Kumar Laurent \
    Lehtonen Leroy Lim Lopez Lund Mahlangu Martin Martinez Mbeki Mendoza Meyer Moreau Moreno Müller Mutua Nakamura \
    Ndlovu Nel Nguyen Nielsen Novak Nowak O'Brien O'Neil Okafor Okonkwo Olsen Osei Otieno Ozturk Park Patel Pereira \
    Perez Petrov Pham Popescu Quispe Rahman Ramirez Ramos Reddy Reyes Ricci Rivera Rodrigues Rojas Romano Rossi \
    Sanchez Santos Sato Schmidt Schneider Sharma Silva Singh Smith Sokolov Sow Suzuki Svensson Takahashi Tan Tanaka \
    Torres Traore Tran Usman van-Dijk Vargas Vasquez Virtanen Visser Vogel Wagner Wang Weber Williams Wong Wójcik Yamada \
    Yang Yilmaz Zhang Zimmermann";

/// Where seven of ten live, within a degree or so.
const CITIES: &[(f64, f64)] = &[
    (52.37, 4.90),
    (48.86, 2.35),
    (52.52, 13.40),
    (51.51, -0.13),
    (40.42, -3.70),
    (41.90, 12.50),
    (50.45, 30.52),
    (41.01, 28.98),
    (30.04, 31.24),
    (6.52, 3.38),
    (-1.29, 36.82),
    (5.60, -0.19),
    (-26.20, 28.05),
    (9.03, 38.74),
    (24.86, 67.01),
    (28.61, 77.21),
    (19.08, 72.88),
    (23.81, 90.41),
    (13.76, 100.50),
    (21.03, 105.85),
    (1.35, 103.82),
    (14.60, 120.98),
    (39.90, 116.41),
    (31.23, 121.47),
    (37.57, 126.98),
    (35.68, 139.69),
    (-33.87, 151.21),
    (-36.85, 174.76),
    (-17.78, 177.95),
    (19.43, -99.13),
    (4.71, -74.07),
    (-12.05, -77.04),
    (-23.55, -46.63),
    (-34.60, -58.38),
    (40.71, -74.01),
    (41.88, -87.63),
    (34.05, -118.24),
    (45.50, -73.57),
    (64.15, -21.94),
    (69.65, 18.96),
];

/// A stream of numbers that are the same for the same person.
struct Draw(u64);

impl Draw {
    /// Some 53 bits of it, from 0 to just below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `count`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "lists are short"
    )]
    fn below(&mut self, count: usize) -> usize {
        (self.part() * count as f64) as usize
    }

    fn happens(&mut self, chance: f64) -> bool {
        self.part() < chance
    }

    fn of<'a>(&mut self, words: &'a str) -> &'a str {
        let count = words.split_whitespace().count();
        words.split_whitespace().nth(self.below(count)).unwrap_or_default()
    }
}

/// What becomes of somebody after they registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Nothing,
    Locked,
    Deactivated,
    Auditor,
}

/// The username of a person.
pub(super) fn username(number: u64) -> String {
    let mut draw = Draw(number);
    let (first, last) = (draw.of(FIRST), draw.of(LAST));
    let plain = |text: &str| -> String {
        let folded = text.to_lowercase();
        folded.chars().filter(char::is_ascii_alphabetic).take(11).collect()
    };
    format!("{}.{}{number}", plain(first), plain(last))
}

/// A domain of theirs.
pub(super) fn domain(number: u64) -> String {
    const KINDS: [&str; 8] = ["farm", "mill", "orchard", "field", "coop", "dairy", "garden", "harvest"];
    let kind = usize::try_from(number % 8).unwrap_or_default();
    format!("{}{number}.example", KINDS.get(kind).copied().unwrap_or("farm"))
}

/// A person, and what becomes of them. Most are in use; some never verified anything.
pub(super) fn person(store: &Store, number: u64, domains: u64) -> (Register, Fate) {
    let mut draw = Draw(number);
    let (first, last) = (draw.of(FIRST), draw.of(LAST));
    let name = username(number);
    let domain = domain(skewed(draw.part(), domains));
    let email = draw.happens(0.9).then(|| format!("{name}@{domain}"));
    let phone = draw.happens(0.25).then(|| format!("+3161{:07}", number % 10_000_000));
    let (latitude, longitude) = spot(&mut draw);
    let position = draw
        .happens(0.8)
        .then(|| Coordinates::new(latitude, longitude).ok())
        .flatten();
    let verified = draw.happens(0.94);
    let at = store.now();
    let register = Register {
        dialect: Dialect::Canonical,
        username: Username::parse(&name).ok(),
        email: email.and_then(|text| Email::parse(&text).ok()),
        phone: phone.and_then(|text| Phone::parse_e164(&text).ok()),
        device: None,
        full_name: FullName::parse(&format!("{first} {last}")).ok(),
        discoverable: draw.happens(0.4),
        position,
        country: position.as_ref().and_then(country_at),
        geo_id: draw
            .happens(0.1)
            .then(|| GeoId::parse(&format!("place-{number}")).ok())
            .flatten(),
        boundary: if draw.happens(0.02) {
            field(latitude, longitude)
        } else {
            None
        },
        locale: draw.happens(0.5).then(|| Locale::parse("en").ok()).flatten(),
        password: false,
        standing: Standing::Allowed,
        verified,
        // Nobody wants to find them gone the next day.
        unverified_life: (!verified).then_some(3_650 * DAY),
        email_request: None,
        phone_request: None,
        at,
    };
    let fate = match draw.below(1_000) {
        0..10 => Fate::Locked,
        10..20 => Fate::Deactivated,
        20..22 => Fate::Auditor,
        _ => Fate::Nothing,
    };
    (register, fate)
}

/// A few domains have most of the people.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "there are not so many domains"
)]
fn skewed(part: f64, domains: u64) -> u64 {
    (part * part * domains as f64) as u64
}

fn spot(draw: &mut Draw) -> (f64, f64) {
    if draw.happens(0.3) {
        // Everywhere alike, oceans and poles too.
        let latitude = (2.0 * draw.part() - 1.0).asin().to_degrees();
        return (latitude, 360.0 * draw.part() - 180.0);
    }
    let (latitude, longitude) = CITIES.get(draw.below(CITIES.len())).copied().unwrap_or_default();
    let mut near = || (draw.part() + draw.part() + draw.part() - 1.5) * 0.8;
    (latitude + near(), longitude + near())
}

/// A square field of some hectares.
fn field(latitude: f64, longitude: f64) -> Option<Boundary> {
    let (south, north) = (latitude.max(-89.9) - 0.005, latitude.min(89.9) + 0.005);
    let (west, east) = (longitude.max(-179.9) - 0.005, longitude.min(179.9) + 0.005);
    let ring = json!([
        [west, south],
        [east, south],
        [east, north],
        [west, north],
        [west, south]
    ]);
    Boundary::parse(&json!({ "type": "Polygon", "coordinates": [ring] })).ok()
}
