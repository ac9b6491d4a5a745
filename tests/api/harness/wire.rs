//! A wire to a server that can be cut, or go dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    carried: Arc<AtomicUsize>,
}

impl Line {
    pub async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(watch::channel(Wire::Whole).0),
            carried: Arc::default(),
        };
        let (state, carried) = (Arc::clone(&line.state), Arc::clone(&line.carried));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (carried, host, state) = (Arc::clone(&carried), host.clone(), state.subscribe());
                tokio::spawn(async move {
                    carried.fetch_add(1, Ordering::SeqCst);
                    carry(client, host, port, state).await;
                    carried.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        line
    }

    pub fn is(&self, wire: Wire) {
        self.state.send_replace(wire);
    }

    /// How many connections there are.
    pub fn carried(&self) -> usize {
        self.carried.load(Ordering::SeqCst)
    }

    /// Breaks every connection there is, and lets new ones through. How many there were.
    pub async fn cut(&self) -> usize {
        let broken = self.carried();
        self.is(Wire::Cut);
        super::until("the end of every connection", || async {
            (self.carried() == 0).then_some(())
        })
        .await;
        self.is(Wire::Whole);
        broken
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
