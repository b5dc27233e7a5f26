//! How rows best get into a SQL Server, measured on the server that a variable names:
//!
//! `HOLDFAST_TEST_SQLSERVER=sqlserver://sa@127.0.0.1:1433/master HOLDFAST_TEST_SQLSERVER_PASSWORD=... cargo bench -p store --bench appending`
//!
//! One transaction appends so many messages of 600 bytes, each a row in two tables with a body, in three ways: *json*, as
//! the store does it, one batch whose rows are JSON read by `OPENJSON` and whose bodies are one value; *values*, batches of
//! rows of parameters, as many as 2,100 allow; *bulk*, a bulk load for each table. The ways take turns. A counter on the
//! connection's way counts round trips and bytes. The tables are made in a database of its own, which is dropped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use bench::toll::{Protocol, Toll};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, IntoRow, ToSql};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

type Failure = Box<dyn std::error::Error>;
type Connection = Client<Compat<TcpStream>>;

const DATABASE: &str = "holdfast_appending";
const BODY_BYTES: usize = 600;
/// Values of a message in both tables.
const VALUES: usize = 10;
/// A request has no more than 2,100.
const ROWS_A_REQUEST: usize = 2_090 / VALUES;
/// For each size and way.
const LENGTH: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

const TABLES: &str = "
 CREATE TABLE a (id bigint NOT NULL PRIMARY KEY, inbound int NOT NULL, received_at bigint NOT NULL,
     control_id nvarchar(200) NOT NULL, kind nvarchar(60) NOT NULL, body varbinary(max) NOT NULL);
 CREATE TABLE b (id bigint NOT NULL PRIMARY KEY, message bigint NOT NULL, destination int NOT NULL,
     body varbinary(max) NOT NULL);";

const JSON: &str = "BEGIN TRANSACTION;
 INSERT INTO a (id, inbound, received_at, control_id, kind, body)
 SELECT id, inbound, received_at, control_id, kind, SUBSTRING(@P1, place, size)
 FROM OPENJSON(@P2) WITH (id bigint '$[0]', inbound int '$[1]', received_at bigint '$[2]', control_id nvarchar(200) '$[3]',
     kind nvarchar(60) '$[4]', place int '$[5]', size int '$[6]');
 INSERT INTO b (id, message, destination, body) SELECT id, message, destination, SUBSTRING(@P1, place, size)
 FROM OPENJSON(@P3) WITH (id bigint '$[0]', message bigint '$[1]', destination int '$[2]', place int '$[3]', size int '$[4]');
 COMMIT TRANSACTION;";

#[derive(Clone, Copy)]
enum Way {
    Json,
    Values,
    Bulk,
}

const WAYS: [(&str, Way); 3] = [("json", Way::Json), ("values", Way::Values), ("bulk", Way::Bulk)];

struct Server {
    address: String,
    user: String,
    password: String,
}

impl Server {
    fn of_environment() -> Option<Server> {
        let url = std::env::var("HOLDFAST_TEST_SQLSERVER").ok()?;
        let rest = url.strip_prefix("sqlserver://")?;
        let (user, rest) = rest.split_once('@')?;
        let address = rest.split(['/', '?']).next()?;
        Some(Server {
            address: address.to_owned(),
            user: user.to_owned(),
            password: std::env::var("HOLDFAST_TEST_SQLSERVER_PASSWORD").unwrap_or_default(),
        })
    }

    async fn connect(&self, to: &str, database: &str) -> Result<Connection, Failure> {
        let mut config = Config::new();
        config.database(database);
        config.authentication(AuthMethod::sql_server(&self.user, &self.password));
        config.encryption(EncryptionLevel::NotSupported);
        config.trust_cert();
        config.packet_size(16_000);
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Client::connect(config, stream.compat_write()).await?)
    }
}

async fn run(on: &mut Connection, text: &str) -> Result<(), Failure> {
    on.simple_query(text).await?.into_results().await?;
    Ok(())
}

async fn json(on: &mut Connection, first: i64, count: i64, body: &[u8]) -> Result<(), Failure> {
    let (mut a, mut b) = (String::from("["), String::from("["));
    let mut bodies = Vec::with_capacity(count as usize * body.len());
    for id in first..first + count {
        let place = bodies.len() + 1;
        bodies.extend_from_slice(body);
        let comma = if id > first { "," } else { "" };
        write!(
            a,
            "{comma}[{id},7,{id},\"MSG{id}\",\"ADT^A01\",{place},{BODY_BYTES}]"
        )?;
        write!(b, "{comma}[{id},{id},9,{place},{BODY_BYTES}]")?;
    }
    a.push(']');
    b.push(']');
    let values: [&dyn ToSql; 3] = [&bodies, &a, &b];
    on.query(JSON, &values).await?.into_results().await?;
    Ok(())
}

async fn values(on: &mut Connection, first: i64, count: i64, body: &[u8]) -> Result<(), Failure> {
    let ids: Vec<i64> = (first..first + count).collect();
    let parts: Vec<&[i64]> = ids.chunks(ROWS_A_REQUEST).collect();
    for (index, part) in parts.iter().enumerate() {
        let names: Vec<String> = part.iter().map(|id| format!("MSG{id}")).collect();
        let mut of_a: Vec<&dyn ToSql> = Vec::new();
        let mut of_b: Vec<&dyn ToSql> = Vec::new();
        for (id, name) in part.iter().zip(&names) {
            of_a.extend([id as &dyn ToSql, &7_i32, id, name, &"ADT^A01", &body]);
            of_b.extend([id as &dyn ToSql, id, &9_i32, &body]);
        }
        let rows = |from: usize, width: usize| {
            let row = |row: usize| {
                let places: Vec<String> = (0..width)
                    .map(|at| format!("@P{}", from + row * width + at + 1))
                    .collect();
                format!("({})", places.join(","))
            };
            (0..part.len()).map(row).collect::<Vec<String>>().join(",")
        };
        let begin = if index == 0 { "BEGIN TRANSACTION; " } else { "" };
        let end = if index + 1 == parts.len() {
            " COMMIT TRANSACTION;"
        } else {
            ""
        };
        let text = format!(
            "{begin}INSERT INTO a VALUES {}; INSERT INTO b VALUES {};{end}",
            rows(0, 6),
            rows(of_a.len(), 4)
        );
        of_a.extend(of_b);
        on.query(text, &of_a).await?.into_results().await?;
    }
    Ok(())
}

async fn bulk(on: &mut Connection, first: i64, count: i64, body: &[u8]) -> Result<(), Failure> {
    run(on, "BEGIN TRANSACTION").await?;
    let mut load = on.bulk_insert("a").await?;
    for id in first..first + count {
        load.send((id, 7_i32, id, format!("MSG{id}"), "ADT^A01", body.to_vec()).into_row())
            .await?;
    }
    load.finalize().await?;
    let mut load = on.bulk_insert("b").await?;
    for id in first..first + count {
        load.send((id, id, 9_i32, body.to_vec()).into_row()).await?;
    }
    load.finalize().await?;
    run(on, "COMMIT TRANSACTION").await
}

/// Seconds and messages, for each way in turn.
async fn measure(on: &mut Connection, size: i64, toll: &Toll, body: &[u8]) -> Result<(), Failure> {
    let mut all = [(Duration::ZERO, 0_i64, bench::toll::Tally::default()); WAYS.len()];
    let mut next = 1_i64;
    run(on, "TRUNCATE TABLE a; TRUNCATE TABLE b;").await?;
    for round in 0..=ROUNDS {
        for (of, (_, way)) in all.iter_mut().zip(WAYS) {
            let (before, begun) = (toll.tally(), Instant::now());
            let from = next;
            while begun.elapsed() < LENGTH / ROUNDS as u32 {
                match way {
                    Way::Json => json(on, next, size, body).await?,
                    Way::Values => values(on, next, size, body).await?,
                    Way::Bulk => bulk(on, next, size, body).await?,
                }
                next += size;
            }
            if round == 0 {
                continue; // the server makes its plans
            }
            let went = toll.tally().since(&before);
            of.0 += begun.elapsed();
            of.1 += next - from;
            of.2.round_trips += went.round_trips;
            of.2.bytes_sent += went.bytes_sent;
        }
    }
    let best = all
        .iter()
        .map(|of| of.0.as_secs_f64() / of.1 as f64)
        .fold(f64::MAX, f64::min);
    for ((name, _), (took, messages, went)) in WAYS.iter().zip(all) {
        let each = took.as_secs_f64() / messages as f64;
        writeln!(
            std::io::stdout(),
            "{size:>6} {name:>7} {:>10.0} {:>12.1} {:>8.2} {:>12.3} {:>14.0}",
            1.0 / each,
            each * 1e6,
            each / best,
            went.round_trips as f64 / messages as f64,
            went.bytes_sent as f64 / messages as f64
        )?;
    }
    Ok(())
}

async fn all() -> Result<(), Failure> {
    let Some(server) = Server::of_environment() else {
        writeln!(
            std::io::stdout(),
            "skipped: HOLDFAST_TEST_SQLSERVER=sqlserver://sa@host:1433/master names no server"
        )?;
        return Ok(());
    };
    let mut keeper = server.connect(&server.address, "master").await?;
    run(&mut keeper, &format!("DROP DATABASE IF EXISTS {DATABASE}")).await?;
    run(&mut keeper, &format!("CREATE DATABASE {DATABASE}")).await?;
    let toll = Toll::start(server.address.clone(), Protocol::SqlServer).await?;
    let mut on = server.connect(&toll.address().to_string(), DATABASE).await?;
    run(&mut on, TABLES).await?;
    let body = vec![b'x'; BODY_BYTES];
    writeln!(
        std::io::stdout(),
        "  size     way messages/s us a message    ratio  round trips     bytes sent"
    )?;
    for size in [1, 10, 100, 1_000] {
        measure(&mut on, size, &toll, &body).await?;
    }
    on.close().await?;
    run(&mut keeper, &format!("DROP DATABASE {DATABASE}")).await
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(all())
}
