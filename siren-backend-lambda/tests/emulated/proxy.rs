//! A proxy in front of a server. It records all requests, and injects a finite number of faults.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use siren_core::Requests;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::Server;

/// A fault that affects a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is answered with 503 SlowDown, and is not forwarded.
    Busy,
    /// An invocation of a version of a function is answered with 429 TooManyRequestsException, and
    /// is not forwarded.
    Throttled,
    /// An invocation of a version of a function is forwarded, and the connection breaks before the
    /// answer.
    LostInvocation,
    /// The connection breaks before the request is forwarded.
    Reset,
    /// The request is forwarded, and the connection breaks before the answer.
    LostAnswer,
    /// The last byte of the request body is changed.
    DamagedRequest,
    /// The last byte of the answer is changed.
    DamagedAnswer,
}

impl Fault {
    /// `true` if the fault affects only invocations of functions.
    fn is_of_invocations(self) -> bool {
        matches!(self, Self::Throttled | Self::LostInvocation)
    }
}

/// A fault that affects every n-th request, a limited number of times.
pub(crate) struct Budget {
    fault: Fault,
    every: u64,
    left: AtomicU64,
    fired: AtomicU64,
}

impl Budget {
    pub(crate) fn new(fault: Fault, every: u64, times: u64) -> Self {
        Self { fault, every, left: times.into(), fired: 0.into() }
    }

    fn spend(&self, number: u64, target: &str) -> bool {
        let spent = number.is_multiple_of(self.every)
            && (target.contains("/invocations?Qualifier") || !self.fault.is_of_invocations())
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
        self.fired.fetch_add(u64::from(spent), Ordering::Relaxed);
        spent
    }
}

/// A proxy on loopback. It runs as long as the runtime.
pub(crate) struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

struct Wire {
    server: String,
    faults: Vec<Budget>,
    count: AtomicU64,
    /// The method and target of each request.
    log: Mutex<Vec<(String, String)>>,
}

impl Proxy {
    pub(crate) async fn start(server: &Server, faults: Vec<Budget>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = server.address().trim_start_matches("http://").to_owned();
        let wire =
            Arc::new(Wire { server, faults, count: AtomicU64::new(0), log: Mutex::default() });
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = Arc::clone(&accepting);
                // Broken connections are expected here.
                tokio::spawn(async move { wire.pass(client).await.unwrap_or_default() });
            }
        });
        Self { port, wire }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The number of times that a fault happened.
    pub(crate) fn fired(&self, fault: Fault) -> u64 {
        let of = self.wire.faults.iter().filter(|budget| budget.fault == fault);
        of.map(|budget| budget.fired.load(Ordering::Relaxed)).sum()
    }

    /// The number of requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.wire.count.load(Ordering::Relaxed)
    }

    /// The method and target of each request so far.
    pub(crate) fn log(&self) -> Vec<(String, String)> {
        self.wire.log.lock().unwrap().clone()
    }

    /// The number of requests that S3 charges for, by kind.
    pub(crate) fn requests(&self) -> Requests {
        let log = self.log();
        let is_list = |target: &str| target.contains("list-type=2");
        let writes = log.iter().filter(|(method, target)| method == "PUT" || is_list(target));
        let reads = log.iter().filter(|(method, target)| method == "GET" && !is_list(target));
        Requests { writes: writes.count() as u64, reads: reads.count() as u64 }
    }
}

impl Wire {
    /// Forwards one request and its answer, and closes the connection.
    async fn pass(&self, mut client: TcpStream) -> io::Result<()> {
        let Some((head, mut body)) = read_request(&mut client).await? else { return Ok(()) };
        let number = 1 + self.count.fetch_add(1, Ordering::Relaxed);
        let mut first = head.split(' ');
        let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        self.log.lock().unwrap().push((method.to_owned(), target.to_owned()));
        let fault = self.faults.iter().find(|budget| budget.spend(number, target)).map(|b| b.fault);
        match fault {
            Some(Fault::Busy) => {
                let says = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.\
                    </Message></Error>";
                let answer = format!(
                    "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n\
                    Content-Length: {}\r\nConnection: close\r\n\r\n{says}",
                    says.len()
                );
                return client.write_all(answer.as_bytes()).await;
            }
            Some(Fault::Throttled) => {
                let says = r#"{"Type":"User","message":"Rate Exceeded."}"#;
                let answer = format!(
                    "HTTP/1.1 429 Too Many Requests\r\nx-amzn-errortype: TooManyRequestsException\r\n\
                    Content-Length: {}\r\nConnection: close\r\n\r\n{says}",
                    says.len()
                );
                return client.write_all(answer.as_bytes()).await;
            }
            Some(Fault::Reset) => return Ok(()),
            Some(Fault::DamagedRequest) => damage(&mut body),
            _ => {}
        }
        let mut server = TcpStream::connect(&self.server).await?;
        let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        server.write_all(format!("{line}\r\nConnection: close\r\n{rest}").as_bytes()).await?;
        server.write_all(&body).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        match fault {
            Some(Fault::LostAnswer | Fault::LostInvocation) => return Ok(()),
            Some(Fault::DamagedAnswer) => damage(&mut answer),
            _ => {}
        }
        client.write_all(&answer).await?;
        client.shutdown().await
    }
}

fn damage(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

/// Returns the head with its empty line and the body, or `None` if the client has hung up.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while body.len() < length.unwrap_or_default() {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, body)))
}
