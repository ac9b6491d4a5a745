//! An HTTP/1.1 client that costs as little as possible: what it takes is taken from what is measured.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More than any answer here.
const MOST: usize = 1 << 20;

/// One connection that is kept.
pub struct Connection {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("an answer that is no JSON")
    }

    /// The answer, which must have this status.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "{} instead of {status}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(self)
    }
}

impl Connection {
    /// To `HOST:PORT`.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .context("the service does not listen")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host: address.to_owned(),
            buffer: Vec::with_capacity(4096),
        })
    }

    pub async fn get(&mut self, path: &str, token: Option<&str>) -> Result<Answer> {
        self.send("GET", path, token, None).await
    }

    pub async fn post(&mut self, path: &str, token: Option<&str>, body: &Value) -> Result<Answer> {
        self.send("POST", path, token, Some(body.to_string())).await
    }

    pub async fn command(&mut self, name: &str, token: Option<&str>, body: &Value) -> Result<Answer> {
        self.post(&format!("/v1/commands/{name}"), token, body).await
    }

    async fn send(&mut self, method: &str, path: &str, token: Option<&str>, body: Option<String>) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        if let Some(token) = token {
            request.push_str("authorization: Bearer ");
            request.push_str(token);
            request.push_str("\r\n");
        }
        if let Some(body) = &body {
            request.push_str("content-type: application/json\r\ncontent-length: ");
            request.push_str(&body.len().to_string());
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request.push_str(body.as_deref().unwrap_or_default());
        self.stream.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer> {
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?;
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .context("no status")?;
        let length = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, length)| length.trim().parse::<usize>())
            .transpose()?
            .unwrap_or_default();
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok(Answer {
            status,
            body: self.buffer[head..].to_vec(),
        })
    }

    async fn more(&mut self) -> Result<()> {
        ensure!(self.buffer.len() < MOST, "an answer without end");
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection was closed");
        }
        Ok(())
    }
}
