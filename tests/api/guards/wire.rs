//! A wire to the database that can be cut, or go dead.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// It carries.
    Whole,
    /// Connections break, and new ones are refused.
    Cut,
    /// Nothing comes through and nobody is told.
    Dead,
}

pub struct Line {
    pub port: u16,
    state: Arc<watch::Sender<Wire>>,
}

impl Line {
    pub async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(watch::channel(Wire::Whole).0),
        };
        let state = Arc::clone(&line.state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, host.clone(), port, state.subscribe()));
            }
        });
        line
    }

    pub fn is(&self, wire: Wire) {
        self.state.send_replace(wire);
    }
}

async fn carry(mut client: TcpStream, host: String, port: u16, mut state: watch::Receiver<Wire>) {
    if *state.borrow() == Wire::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect((host.as_str(), port)).await else {
        return;
    };
    loop {
        let now = *state.borrow_and_update();
        match now {
            Wire::Cut => return,
            Wire::Dead => {
                let _ = state.changed().await;
            }
            Wire::Whole => {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {
                        let _ = client.shutdown().await;
                        return;
                    }
                    _ = state.changed() => {}
                }
            }
        }
    }
}
