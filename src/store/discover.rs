//! Who is near a place, the nearest first, and whose land it lies in.
//!
//! Whose land holds the place is at distance 0. All others are found in rings around it that grow until a page is
//! full: each a few ranges of cells of one index, whose entries hold what the distance is reckoned from.

use std::collections::{HashMap, HashSet};

use projections::globe::{Spot, cover};
use projections::land::{Land, squares_at};
use projections::{UserRow, is_discoverable};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{Engine, on_pool};
use super::rows::{Read, USERS};
use super::{Store, StoreError};

/// A circle to look in.
#[derive(Debug, Clone, Copy)]
pub struct Circle {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// The square of the chord to its edge, on the unit sphere.
    pub apart: f64,
}

/// Somebody who was found.
#[derive(Debug, Clone)]
pub struct Near {
    /// Who.
    pub user: UserRow,
    /// The square of the chord, on the unit sphere.
    pub apart: f64,
}

/// A page of those who were found.
#[derive(Debug, Clone)]
pub struct Nearby {
    /// Those of the page who can still be discovered.
    pub found: Vec<Near>,
    /// Behind whom the next page begins; none: this is the last one.
    pub next: Option<(f64, Uuid)>,
}

/// Somebody's place: how far away, and who. Pages are in this order.
type Place = (f64, Uuid);

/// The square of the chord of the first ring: some two kilometres.
const FIRST: f64 = 1e-7;
/// Boundaries read at a time.
const LANDS: i64 = 100;

const AROUND_POSTGRES: &str = "
    SELECT near.user_id, near.apart
    FROM unnest($1::bigint[], $2::bigint[]) AS cells (first, behind)
    CROSS JOIN LATERAL (
        SELECT user_id,
               (x - $3) * (x - $3) + (y - $4) * (y - $4) + (z - $5) * (z - $5) AS apart
        FROM user_places WHERE cell >= cells.first AND cell < cells.behind OFFSET 0
    ) AS near
    WHERE near.apart <= $6 AND (near.apart, near.user_id) > ($7, $8)
    ORDER BY near.apart, near.user_id LIMIT $9";

const AROUND_SQLITE: &str = "
    SELECT user_id, (x - $2) * (x - $2) + (y - $3) * (y - $3) + (z - $4) * (z - $4) AS apart
    FROM json_each($1) AS cells CROSS JOIN user_places
      ON cell >= cells.value ->> '$[0]' AND cell < cells.value ->> '$[1]'
    WHERE apart <= $5 AND (apart, user_id) > ($6, $7)
    ORDER BY apart, user_id LIMIT $8";

const HOLDERS_POSTGRES: &str = "
    SELECT DISTINCT land.user_id FROM unnest($1::bigint[]) AS squares (square)
    CROSS JOIN LATERAL (
        SELECT user_id FROM user_places WHERE cell = squares.square AND user_id > $2 ORDER BY user_id LIMIT $3
    ) AS land
    ORDER BY land.user_id LIMIT $3";

const HOLDERS_SQLITE: &str = "
    SELECT DISTINCT user_id FROM user_places
    WHERE cell IN (SELECT value FROM json_each($1)) AND user_id > $2
    ORDER BY user_id LIMIT $3";

const OF_THESE_POSTGRES: &str = "
    SELECT DISTINCT near.user_id FROM unnest($2::text[]) AS near (user_id)
    JOIN user_places ON user_places.user_id = near.user_id AND user_places.cell = ANY ($1)";

const OF_THESE_SQLITE: &str = "
    SELECT DISTINCT user_id FROM user_places
    WHERE user_id IN (SELECT value FROM json_each($2)) AND cell IN (SELECT value FROM json_each($1))";

impl Store {
    /// Who can be discovered in a circle, or by land that holds its middle, after the last one of the page before: at
    /// most `limit`, which is 1 and more.
    pub async fn discover(
        &self,
        circle: &Circle,
        after: Option<(f64, Uuid)>,
        limit: i64,
    ) -> Result<Nearby, StoreError> {
        let after = after.unwrap_or((-1.0, Uuid::nil()));
        // One more tells whether there is another page.
        let (most, limit) = (usize::try_from(limit).unwrap_or_default(), limit.saturating_add(1));
        let wanted = most.saturating_add(1);
        let mut found = if after.0 > 0.0 {
            Vec::new()
        } else {
            self.holders(circle, after, wanted).await?
        };
        // Where their land alone fills the page, those who stand right there may still come before them.
        let apart = if found.len() < wanted { circle.apart } else { 0.0 };
        found.extend(self.around(&Circle { apart, ..*circle }, after, limit).await?);
        found.sort_by(|(one, a), (other, b)| one.total_cmp(other).then(a.cmp(b)));
        found.dedup();
        // By the places, not by who is left of them: whoever has hidden since must not end the list.
        let more = found.len() > most;
        found.truncate(most);
        let next = found.last().copied().filter(|_| more);
        let ids: Vec<Uuid> = found.iter().map(|(_, id)| *id).collect();
        let mut rows = self.users_by_id(&ids).await?;
        let near = |(apart, id)| {
            rows.remove(&id)
                .filter(is_discoverable)
                .map(|user| Near { user, apart })
        };
        Ok(Nearby {
            found: found.into_iter().filter_map(near).collect(),
            next,
        })
    }

    /// How the database looks around a place, for land, and for the land of those around: its plans, line by line. For
    /// measurements.
    pub async fn explain_discover(&self) -> Result<Vec<String>, StoreError> {
        let (cells, squares) = (vec![(0_i64, 1_i64)], vec![-1_i64]);
        let mut lines = Vec::new();
        match &self.inner.engine {
            Engine::Postgres { pool, .. } => {
                let (first, behind): (Vec<i64>, Vec<i64>) = cells.into_iter().unzip();
                let sql = format!("EXPLAIN (COSTS OFF) {AROUND_POSTGRES}");
                let query = sqlx::query_scalar(&sql)
                    .bind(first)
                    .bind(behind)
                    .bind(1.0)
                    .bind(0.0)
                    .bind(0.0);
                lines.extend(query.bind(1.0).bind(0.0).bind("").bind(1_i64).fetch_all(pool).await?);
                let sql = format!("EXPLAIN (COSTS OFF) {HOLDERS_POSTGRES}");
                let query = sqlx::query_scalar(&sql).bind(&squares).bind("").bind(1_i64);
                lines.extend(query.fetch_all(pool).await?);
                let sql = format!("EXPLAIN (COSTS OFF) {OF_THESE_POSTGRES}");
                let query = sqlx::query_scalar(&sql).bind(&squares).bind(vec![String::new()]);
                lines.extend(query.fetch_all(pool).await?);
            }
            Engine::Sqlite { pool, .. } => {
                for sql in [AROUND_SQLITE, HOLDERS_SQLITE, OF_THESE_SQLITE] {
                    let rows = sqlx::query(&format!("EXPLAIN QUERY PLAN {sql}"))
                        .fetch_all(pool)
                        .await?;
                    let details = rows.iter().map(|row| row.try_get::<String, _>("detail"));
                    lines.extend(details.collect::<Result<Vec<_>, _>>()?);
                }
            }
        }
        Ok(lines)
    }

    /// Whose land holds the middle of the circle.
    async fn holders(&self, circle: &Circle, after: Place, wanted: usize) -> Result<Vec<Place>, StoreError> {
        let squares = squares_at(circle.latitude, circle.longitude);
        let mut last = if after.0 < 0.0 {
            String::new()
        } else {
            after.1.to_string()
        };
        let mut holders = Vec::new();
        while holders.len() < wanted {
            let some: Vec<String> = match &self.inner.engine {
                Engine::Postgres { pool, .. } => {
                    let query = sqlx::query_scalar(HOLDERS_POSTGRES).bind(&squares);
                    query.bind(&last).bind(LANDS).fetch_all(pool).await?
                }
                Engine::Sqlite { pool, .. } => {
                    let query = sqlx::query_scalar(HOLDERS_SQLITE).bind(serde_json::json!(squares).to_string());
                    query.bind(&last).bind(LANDS).fetch_all(pool).await?
                }
            };
            let Some(newest) = some.last() else { break };
            last.clone_from(newest);
            let ids = self.lands_that_hold(circle, &some).await?;
            holders.extend(ids.into_iter().map(|id| (0.0, id)));
        }
        Ok(holders)
    }

    /// Of these, whose land holds the middle of the circle.
    async fn lands_that_hold(&self, circle: &Circle, users: &[String]) -> Result<Vec<Uuid>, StoreError> {
        let places: Vec<String> = (1..=users.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT id, boundary FROM users WHERE boundary IS NOT NULL AND id IN ({}) ORDER BY id",
            places.join(", ")
        );
        let lands: Vec<(String, String)> = on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query_as(&sql);
            for user in users {
                query = query.bind(user.clone());
            }
            query.fetch_all(pool).await?
        });
        let holds =
            |boundary: &str| Land::parse(boundary).is_some_and(|land| land.holds(circle.latitude, circle.longitude));
        let ids = lands.iter().filter(|(_, boundary)| holds(boundary));
        Ok(ids.filter_map(|(id, _)| Uuid::parse_str(id).ok()).collect())
    }

    /// The nearest in the circle, but for those whose land holds its middle.
    async fn around(&self, circle: &Circle, after: Place, limit: i64) -> Result<Vec<Place>, StoreError> {
        let centre = Spot::at(circle.latitude, circle.longitude);
        let squares = squares_at(circle.latitude, circle.longitude);
        let wanted = usize::try_from(limit).unwrap_or_default();
        let (mut kept, mut after) = (Vec::new(), after);
        let mut edge = (after.0 * 1.2).max(FIRST).min(circle.apart);
        loop {
            let some = self.ring(centre, edge, after, limit).await?;
            let full = some.len() >= wanted;
            if !full && edge < circle.apart {
                // Twice the way at least, and farther where there is nobody.
                edge = (edge * if some.is_empty() { 16.0 } else { 4.0 }).min(circle.apart);
                continue;
            }
            let landed = self.landed(circle, &squares, &some).await?;
            kept.extend(some.iter().filter(|(_, id)| !landed.contains(id)));
            match some.last() {
                // Those whose land it is were told of before: there is room for more.
                Some(last) if full && kept.len() < wanted => after = *last,
                _ => return Ok(kept),
            }
        }
    }

    /// Of those found around, whose land holds the middle.
    async fn landed(&self, circle: &Circle, squares: &[i64], found: &[Place]) -> Result<HashSet<Uuid>, StoreError> {
        let ids: Vec<String> = found.iter().map(|(_, id)| id.to_string()).collect();
        let maybe: Vec<String> = match &self.inner.engine {
            Engine::Postgres { pool, .. } => {
                let query = sqlx::query_scalar(OF_THESE_POSTGRES).bind(squares);
                query.bind(ids).fetch_all(pool).await?
            }
            Engine::Sqlite { pool, .. } => {
                let query = sqlx::query_scalar(OF_THESE_SQLITE).bind(serde_json::json!(squares).to_string());
                query.bind(serde_json::json!(ids).to_string()).fetch_all(pool).await?
            }
        };
        let mut landed = HashSet::new();
        for some in maybe.chunks(100) {
            landed.extend(self.lands_that_hold(circle, some).await?);
        }
        Ok(landed)
    }

    /// The nearest within an edge.
    async fn ring(&self, centre: Spot, edge: f64, after: Place, limit: i64) -> Result<Vec<Place>, StoreError> {
        let cells = cover(centre, edge);
        let last = after.1.to_string();
        let rows: Vec<(String, f64)> = match &self.inner.engine {
            Engine::Postgres { pool, .. } => {
                let (first, behind): (Vec<i64>, Vec<i64>) = cells.into_iter().unzip();
                let query = sqlx::query_as(AROUND_POSTGRES).bind(first).bind(behind);
                let query = query.bind(centre.x).bind(centre.y).bind(centre.z).bind(edge);
                query.bind(after.0).bind(last).bind(limit).fetch_all(pool).await?
            }
            Engine::Sqlite { pool, .. } => {
                let query = sqlx::query_as(AROUND_SQLITE).bind(serde_json::json!(cells).to_string());
                let query = query.bind(centre.x).bind(centre.y).bind(centre.z).bind(edge);
                query.bind(after.0).bind(last).bind(limit).fetch_all(pool).await?
            }
        };
        let place = |(id, apart): (String, f64)| {
            let id = Uuid::parse_str(&id).map_err(|problem| StoreError::corrupt("user_places", &id, problem))?;
            Ok((apart, id))
        };
        rows.into_iter().map(place).collect()
    }

    /// The rows of these users, as far as they are still there.
    async fn users_by_id(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, UserRow>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT {} FROM users WHERE id IN ({})",
            USERS.list(""),
            places.join(", ")
        );
        on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query_as::<_, Read<UserRow>>(&sql);
            for id in ids {
                query = query.bind(id.to_string());
            }
            let rows = query.fetch_all(pool).await?;
            Ok(rows.into_iter().map(|Read(row)| (row.id, row)).collect())
        })
    }
}
