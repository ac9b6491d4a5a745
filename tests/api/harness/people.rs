//! What tests do to have somebody: registering, verifying, signing in.

use serde_json::{Value, json};

use super::App;

/// A password that every account may have.
pub const PASSWORD: &str = "seven green goats on a hill";

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub user: String,
    pub session: String,
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    pub fn of(body: &Value) -> Self {
        let text = |name: &str| {
            body[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {body}"))
                .to_owned()
        };
        assert_eq!(body["token_type"], "Bearer");
        Self {
            user: text("user_id"),
            session: text("session_id"),
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

impl App {
    /// Signs in.
    pub async fn sign_in(&self, identifier: &str, password: &str) -> Tokens {
        let body = json!({ "identifier": identifier, "password": password });
        Tokens::of(&self.post("/v1/sessions", &body).expect(201).await)
    }

    /// An account with nothing but a username, which is active at once. Its id.
    pub async fn has_user(&self, username: &str) -> String {
        let body = json!({ "username": username, "password": PASSWORD });
        let receipt = self.command("register-user", &body).expect(201).await;
        receipt["id"].as_str().unwrap().to_owned()
    }

    /// The same, signed in.
    pub async fn user(&self, username: &str) -> Tokens {
        self.has_user(username).await;
        self.sign_in(username, PASSWORD).await
    }

    /// An administrator made at the command line while the service runs, signed in.
    pub async fn admin(&self) -> Tokens {
        let verb = [
            "admin",
            "create",
            "--email",
            "boss@registry.example",
            "--username",
            "boss",
            "--password-stdin",
        ];
        self.place.run(&verb, &format!("{PASSWORD}\n")).await.unwrap();
        self.sign_in("boss", PASSWORD).await
    }
}
