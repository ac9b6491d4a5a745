//! A name server: it answers for TXT records over UDP and TCP, says when an answer was too long for UDP, or is silent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// What fits into an answer over UDP without further ado (RFC 1035, section 4.2.1).
const SHORT: usize = 512;

/// The server. Gone when dropped.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

#[derive(Default)]
struct Zone {
    /// Records by name, each of parts.
    records: BTreeMap<String, Vec<Vec<String>>>,
    silent: bool,
    silent_about: Option<String>,
    failing: bool,
    over_tcp: usize,
    asked: Vec<String>,
}

impl NameServer {
    pub async fn start() -> Self {
        let zone = Arc::new(Mutex::new(Zone::default()));
        // The same port for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let (over_udp, over_tcp) = (zone.clone(), zone.clone());
        let tasks = [
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                loop {
                    let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                    if let Some(mut answer) = over_udp.lock().unwrap().answer(&buffer[..length]) {
                        if answer.to_vec().unwrap().len() > SHORT {
                            answer.answers.clear();
                            answer.metadata.truncation = true;
                        }
                        let _ = udp.try_send_to(&answer.to_vec().unwrap(), from);
                    }
                }
            }),
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = tcp.accept().await.unwrap();
                    let zone = over_tcp.clone();
                    tokio::spawn(async move {
                        while let Ok(length) = stream.read_u16().await {
                            let mut query = vec![0; usize::from(length)];
                            stream.read_exact(&mut query).await.unwrap();
                            let answer = zone.lock().unwrap().answer(&query);
                            let Some(answer) = answer else { break };
                            zone.lock().unwrap().over_tcp += 1;
                            let answer = answer.to_vec().unwrap();
                            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    });
                }
            }),
        ];
        Self { address, zone, tasks }
    }

    /// What `domains.resolvers` says.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// One more TXT record at a name, of these parts.
    pub fn publish(&self, name: &str, parts: &[&str]) {
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        let mut zone = self.zone.lock().unwrap();
        zone.records.entry(format!("{name}.")).or_default().push(parts);
    }

    /// Whether it answers nothing at all.
    pub fn silent(&self, silent: bool) {
        self.zone.lock().unwrap().silent = silent;
    }

    /// The one name it says nothing of, as if the servers of that domain were dead.
    pub fn silent_about(&self, name: &str) {
        self.zone.lock().unwrap().silent_about = Some(format!("{name}."));
    }

    /// Whether it answers that it failed.
    pub fn failing(&self, failing: bool) {
        self.zone.lock().unwrap().failing = failing;
    }

    /// How many answers went over TCP.
    pub fn over_tcp(&self) -> usize {
        self.zone.lock().unwrap().over_tcp
    }

    /// The names it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.zone.lock().unwrap().asked.clone()
    }
}

impl Zone {
    fn answer(&mut self, query: &[u8]) -> Option<Message> {
        let query = Message::from_vec(query).unwrap();
        let asked = query.queries.first()?.clone();
        let name = asked.name().to_ascii().to_ascii_lowercase();
        self.asked.push(name.clone());
        if self.silent || self.silent_about.as_ref() == Some(&name) {
            return None;
        }
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.add_query(asked.clone());
        if self.failing {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if let Some(records) = self
            .records
            .get(&name)
            .filter(|_| asked.query_type() == RecordType::TXT)
        {
            for parts in records {
                let data = RData::TXT(TXT::new(parts.clone()));
                answer.add_answer(Record::from_rdata(asked.name().clone(), 60, data));
            }
        } else {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        Some(answer)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
