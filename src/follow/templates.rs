//! What mails and short messages look like: texts with places, those that come with the program or an operator's own.
//!
//! Everything is read and checked once, at the start: a text with a slip in it must not be found by the first person
//! who needs a link. Values are escaped where HTML is made, whatever they are.

mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::text::{Place, Text};

/// The mails there are: a name, and whether it carries a link. A notice has none: people should not learn to open
/// links of warnings.
const MAILS: [(&str, bool); 17] = [
    ("verify-email", true),
    ("change-email", true),
    ("reset-password", true),
    ("notice-email-change-asked", false),
    ("notice-email-changed", false),
    ("notice-phone-changed", false),
    ("notice-password-changed", false),
    ("notice-password-reset", false),
    ("notice-new-device", false),
    ("notice-after-failures", false),
    ("notice-session-ended", false),
    ("notice-locked", false),
    ("notice-locked-attempts", false),
    ("notice-erased", false),
    ("agstack-activation", true),
    ("agstack-reset-password", true),
    (KEYS, false),
];

/// The one mail that carries keys.
const KEYS: &str = "agstack-api-keys";

/// The short messages there are: two with a code, and notices for whoever has no verified address.
const MESSAGES: [&str; 12] = [
    "verify-phone",
    "reset-password",
    "notice-email-change-asked",
    "notice-email-changed",
    "notice-phone-changed",
    "notice-password-changed",
    "notice-password-reset",
    "notice-new-device",
    "notice-after-failures",
    "notice-session-ended",
    "notice-locked",
    "notice-locked-attempts",
];

/// What stands around the HTML of every mail.
const LAYOUT: &str = "layout.html";

macro_rules! built_in {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../../templates/", $name)))),*] };
}

macro_rules! built_in_mails {
    ($($name:literal),* $(,)?) => {
        [$(
            [
                (concat!($name, ".subject"), include_str!(concat!("../../templates/", $name, ".subject"))),
                (concat!($name, ".txt"), include_str!(concat!("../../templates/", $name, ".txt"))),
                (concat!($name, ".html"), include_str!(concat!("../../templates/", $name, ".html"))),
            ]
        ),*]
    };
}

/// Every file that comes with the program.
fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others = built_in![
        "layout.html",
        "verify-phone.sms",
        "reset-password.sms",
        "notice-email-change-asked.sms",
        "notice-email-changed.sms",
        "notice-phone-changed.sms",
        "notice-password-changed.sms",
        "notice-password-reset.sms",
        "notice-new-device.sms",
        "notice-after-failures.sms",
        "notice-session-ended.sms",
        "notice-locked.sms",
        "notice-locked-attempts.sms",
    ];
    let mails = built_in_mails![
        "verify-email",
        "change-email",
        "reset-password",
        "notice-email-change-asked",
        "notice-email-changed",
        "notice-phone-changed",
        "notice-password-changed",
        "notice-password-reset",
        "notice-new-device",
        "notice-after-failures",
        "notice-session-ended",
        "notice-locked",
        "notice-locked-attempts",
        "notice-erased",
        "agstack-activation",
        "agstack-reset-password",
        "agstack-api-keys",
    ];
    mails.into_iter().flatten().chain(others)
}

/// What is wrong with a file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}", path = .file.display())]
pub struct TemplateError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: String,
}

/// All texts, ready to be filled in.
#[derive(Debug, Clone)]
pub struct Templates {
    mails: BTreeMap<&'static str, Mail>,
    messages: BTreeMap<&'static str, Text>,
    layout: Text,
}

#[derive(Debug, Clone)]
struct Mail {
    subject: Text,
    text: Text,
    html: Text,
}

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Its subject, one line.
    pub subject: String,
    /// Its plain text, in lines that end with `\n`.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// What stands in the places of a mail.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values<'a> {
    pub link: &'a str,
    pub until: &'a str,
    pub at: &'a str,
    pub api_key: &'a str,
    pub client_secret: &'a str,
}

impl Templates {
    /// The texts of the program, and over them those of a folder. Every mistake at once.
    pub fn load(folder: Option<&Path>) -> Result<Self, Vec<TemplateError>> {
        let mut files: BTreeMap<String, String> = built_in()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        let (mut errors, mut own) = (Vec::new(), Vec::new());
        if let Some(folder) = folder {
            own = read(folder, &files, &mut errors);
            errors.extend(halves(folder, &own));
        }
        let own_names: Vec<String> = own.iter().map(|(name, _)| name.clone()).collect();
        files.extend(own);
        let mut parsed = BTreeMap::new();
        for (name, text) in &files {
            let at = match folder {
                Some(folder) if own_names.contains(name) => folder.join(name),
                _ => PathBuf::from(name),
            };
            match Text::parse(text, places(name)).and_then(|text| fits(name, text)) {
                Ok(text) => {
                    parsed.insert(name.as_str(), text);
                }
                Err(problem) => errors.push(TemplateError { file: at, problem }),
            }
        }
        if errors.is_empty() {
            Self::of(&mut parsed).map_err(|missing| {
                vec![TemplateError {
                    file: missing.into(),
                    problem: "is missing".into(),
                }]
            })
        } else {
            Err(errors)
        }
    }

    /// Puts the files together. The error names one that is not there.
    fn of(files: &mut BTreeMap<&str, Text>) -> Result<Self, String> {
        let mut take = |name: String| files.remove(name.as_str()).ok_or(name);
        let mut mails = BTreeMap::new();
        for (name, _) in MAILS {
            let mail = Mail {
                subject: take(format!("{name}.subject"))?,
                text: take(format!("{name}.txt"))?,
                html: take(format!("{name}.html"))?,
            };
            mails.insert(name, mail);
        }
        let mut messages = BTreeMap::new();
        for name in MESSAGES {
            messages.insert(name, take(format!("{name}.sms"))?);
        }
        Ok(Self {
            mails,
            messages,
            layout: take(LAYOUT.to_owned())?,
        })
    }

    /// Puts a mail into words. None: there is no mail of this name.
    pub(super) fn mail(&self, name: &str, values: Values<'_>) -> Option<Words> {
        let mail = self.mails.get(name)?;
        let plain = |place| value(place, values).to_owned();
        let escaped = |place| text::escaped(value(place, values));
        let subject = mail.subject.fill(plain);
        let content = mail.html.fill(escaped);
        let html = self.layout.fill(|place| match place {
            Place::Subject => text::escaped(&subject),
            Place::Content => content.trim_end().to_owned(),
            other => escaped(other),
        });
        Some(Words {
            text: mail.text.fill(plain),
            subject,
            html,
        })
    }

    /// Puts a short message into words. None: there is none of this name.
    pub(super) fn message(&self, name: &str, code: &str) -> Option<String> {
        Some(self.messages.get(name)?.fill(|_| code.to_owned()))
    }
}

fn value(place: Place, values: Values<'_>) -> &str {
    match place {
        Place::Link => values.link,
        Place::Until => values.until,
        Place::At => values.at,
        Place::ApiKey => values.api_key,
        Place::ClientSecret => values.client_secret,
        Place::Code | Place::Subject | Place::Content => "",
    }
}

/// The places a file may have; the first ones are those it must have.
fn places(name: &str) -> (&'static [Place], &'static [Place]) {
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let link = MAILS.iter().any(|(mail, link)| *mail == stem && *link);
    match (kind, link) {
        _ if name == LAYOUT => (&[Place::Subject, Place::Content], &[Place::Content]),
        ("subject", _) if stem == KEYS => (&[], &[]),
        (_, _) if stem == KEYS => (
            &[Place::ApiKey, Place::ClientSecret],
            &[Place::ApiKey, Place::ClientSecret],
        ),
        // A notice has neither a code nor a link.
        ("sms", _) if stem.starts_with("notice-") => (&[], &[]),
        ("sms", _) => (&[Place::Code], &[Place::Code]),
        ("subject", true) => (&[Place::Until], &[]),
        (_, true) => (&[Place::Link, Place::Until], &[Place::Link]),
        (_, false) => (&[Place::At], &[]),
    }
}

/// What a kind of file asks for beyond its places.
fn fits(name: &str, text: Text) -> Result<Text, String> {
    let (_, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    if kind == "subject" {
        let text = text.trimmed();
        return if text.is_line() {
            Ok(text)
        } else {
            Err("a subject is one line".into())
        };
    }
    if kind == "sms" {
        let text = text.trimmed();
        let notice = name.starts_with("notice-");
        return match (notice, text.has_digits()) {
            (true, true) => Err("a notice holds no digit: programs read codes out of short messages".into()),
            (false, digits) if digits || !text.has_once(Place::Code) => {
                Err("a short message holds {{code}} once and no other digit: programs read the code out of it".into())
            }
            _ => Ok(text),
        };
    }
    if text.longest_line() > 900 {
        return Err("a line is longer than 900 characters; mail servers cut such lines".into());
    }
    Ok(text)
}

/// The files of a folder that are texts of ours.
fn read(folder: &Path, known: &BTreeMap<String, String>, errors: &mut Vec<TemplateError>) -> Vec<(String, String)> {
    let mut error = |file: PathBuf, problem: String| errors.push(TemplateError { file, problem });
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(problem) => {
            error(folder.to_owned(), problem.to_string());
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let mut own = Vec::new();
    for path in paths {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        // What editors and mounts leave behind.
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if !known.contains_key(&name) {
            let nearest = known
                .keys()
                .map(|known| (strsim::jaro_winkler(&name, known), known))
                .filter(|(likeness, _)| *likeness > 0.75)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, known)| format!(", did you mean {known}?"));
            error(path, format!("no message uses it{}", nearest.unwrap_or_default()));
            continue;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => own.push((name, text.replace("\r\n", "\n"))),
            Err(problem) => error(path, problem.to_string()),
        }
    }
    own
}

/// Mails that are replaced in part: nobody wants a subject in one language and a text in another.
fn halves(folder: &Path, own: &[(String, String)]) -> Vec<TemplateError> {
    let has = |name: &str| own.iter().any(|(own, _)| own == name);
    let mut errors = Vec::new();
    for (mail, _) in MAILS {
        let parts = ["subject", "txt", "html"].map(|part| format!("{mail}.{part}"));
        if !parts.iter().any(|part| has(part)) {
            continue;
        }
        errors.extend(parts.iter().filter(|part| !has(part)).map(|part| TemplateError {
            file: folder.join(part),
            problem: "is missing: a mail is replaced with its .subject, .txt and .html together".into(),
        }));
    }
    errors
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    /// What is wrong with a folder, without the path.
    fn wrong(files: &[(&str, &str)]) -> Vec<String> {
        let folder = folder(files);
        let errors = Templates::load(Some(folder.path())).unwrap_err();
        let base = format!("{}/", folder.path().display());
        errors
            .iter()
            .map(|error| error.to_string().replace(&base, ""))
            .collect()
    }

    const LINK: Values<'static> = Values {
        link: "https://registry.example/a&b\"<'>?token=abc",
        until: "noon & <later>",
        at: "",
        api_key: "",
        client_secret: "",
    };

    #[test]
    fn the_built_in_texts_hold() {
        let templates = Templates::load(None).unwrap();
        assert_eq!(built_in().count(), MAILS.len() * 3 + MESSAGES.len() + 1);
        for (name, link) in MAILS {
            let words = templates.mail(name, LINK).unwrap();
            assert_eq!(words.html.contains("token=abc"), link, "{name}");
            assert_eq!(words.html.matches("</html>").count(), 1, "{name}");
            assert!(
                words.html.contains(&format!("<title>{}</title>", words.subject)),
                "{name}"
            );
            assert!(!words.text.contains("{{") && !words.html.contains("{{"), "{name}");
            // Nothing of a mail is fetched from anywhere when it is opened.
            assert!(!words.html.contains("src=") && !words.html.contains("url("), "{name}");
        }
    }

    #[test]
    fn html_is_escaped_and_plain_text_is_not() {
        let words = Templates::load(None).unwrap().mail("verify-email", LINK).unwrap();
        assert!(words.text.contains(&format!("\n{}\n", LINK.link)));
        assert!(words.text.contains(LINK.until));
        let link = "href=\"https://registry.example/a&amp;b&quot;&lt;&#39;&gt;?token=abc\"";
        assert!(words.html.contains(link), "{}", words.html);
        assert!(words.html.contains("noon &amp; &lt;later&gt;"));
    }

    #[test]
    fn a_folder_replaces_whole_mails_and_leaves_the_others() {
        let folder = folder(&[
            ("verify-email.subject", "Willkommen & hallo\n"),
            ("verify-email.txt", "Bitte:\r\n{{ link }}\r\nbis {{until}}\n"),
            ("verify-email.html", "<p><a href=\"{{link}}\">Bitte</a></p>"),
            ("layout.html", "<title>{{subject}}</title><body>{{content}}</body>"),
            ("verify-phone.sms", "Ihr Code: {{code}}\n"),
            (".swp", "{{nothing}}"),
        ]);
        let templates = Templates::load(Some(folder.path())).unwrap();
        let values = Values {
            link: "http://h/?t=1&u",
            until: "12:00",
            ..Values::default()
        };
        let words = templates.mail("verify-email", values).unwrap();
        assert_eq!(words.subject, "Willkommen & hallo");
        assert_eq!(words.text, "Bitte:\nhttp://h/?t=1&u\nbis 12:00\n");
        assert_eq!(
            words.html,
            "<title>Willkommen &amp; hallo</title><body><p><a href=\"http://h/?t=1&amp;u\">Bitte</a></p></body>"
        );
        assert_eq!(templates.message("verify-phone", "012345").unwrap(), "Ihr Code: 012345");
        assert!(
            templates
                .message("reset-password", "012345")
                .unwrap()
                .starts_with("012345 is")
        );
        let other = templates.mail("reset-password", LINK).unwrap();
        assert_eq!(other.subject, "Reset your password");
        assert!(other.html.starts_with("<title>Reset your password</title><body><p"));
    }

    #[test]
    fn every_slip_names_its_file() {
        let told = wrong(&[
            ("verify-email.subject", "one\ntwo"),
            ("verify-email.txt", "no link"),
            ("verify-email.html", "{{link}}\n{{name}}"),
            ("reset-password.txt", "{{link}}"),
            ("notice-locked.subject", "x"),
            ("notice-locked.txt", "{{link}}"),
            ("notice-locked.html", "{{at"),
            ("verify-phone.sms", "{{code}} for 10 minutes"),
            ("notice-new-device.sms", "call 112"),
            ("notice-locked.sms", "at {{at}}"),
            ("notice-erased.sms", "farewell"),
            ("reset-password.sms", "no code"),
            ("verify_email.txt", "{{link}}"),
            ("layout.html", "{{subject}}"),
        ]);
        insta::assert_snapshot!(told.join("\n"), @r"
        notice-erased.sms: no message uses it, did you mean notice-erased.html?
        verify_email.txt: no message uses it, did you mean verify-email.txt?
        reset-password.subject: is missing: a mail is replaced with its .subject, .txt and .html together
        reset-password.html: is missing: a mail is replaced with its .subject, .txt and .html together
        layout.html: lacks {{content}}
        notice-locked.html: line 1: {{ without }}
        notice-locked.sms: line 1: unknown placeholder {{at}}; there is none here
        notice-locked.txt: line 1: unknown placeholder {{link}}; here are {{at}}
        notice-new-device.sms: a notice holds no digit: programs read codes out of short messages
        reset-password.sms: lacks {{code}}
        verify-email.html: line 2: unknown placeholder {{name}}; here are {{link}} {{until}}
        verify-email.subject: a subject is one line
        verify-email.txt: lacks {{link}}
        verify-phone.sms: a short message holds {{code}} once and no other digit: programs read the code out of it
        ");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let errors = Templates::load(Some(Path::new("/no/such/folder"))).unwrap_err();
        assert!(errors[0].to_string().starts_with("/no/such/folder: "), "{errors:?}");
    }
}
