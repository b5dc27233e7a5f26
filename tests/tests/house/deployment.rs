//! The files for those who run Holdfast: alerts, dashboard, unit, manifests, the compose file of a cluster. They name
//! metrics, settings, addresses and files of this repository, and nothing else would notice when those change.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

use super::containers::{below, environment, instructions, read};
use super::{File, files, root, settle};

/// Words of a text that begin with `start` and go on in the letters of a metric or variable.
pub(crate) fn names(text: &str, start: &str) -> BTreeSet<String> {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let starts = text.match_indices(start).map(|(at, _)| at);
    starts
        .filter(|at| !text[..*at].ends_with(part))
        .map(|at| text[at..].chars().take_while(|letter| part(*letter)).collect())
        .collect()
}

/// Metrics that a file names and the product does not export.
fn unknown_metrics(file: &File, exported: &BTreeSet<String>) -> Vec<String> {
    let known = |name: &String| {
        let of_a_histogram = |end| name.strip_suffix(end).is_some_and(|name| exported.contains(name));
        exported.contains(name) || ["_bucket", "_sum", "_count"].into_iter().any(of_a_histogram)
    };
    names(&file.text, "holdfast_")
        .into_iter()
        .filter(|name| !known(name))
        .map(|name| format!("{}: `{name}` is no metric of the product", file.path))
        .collect()
}

/// Metrics that the code exports: texts of their own in files that ship.
fn exported() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files("crates", ".rs")
        .iter()
        .filter(|file| !file.path.contains("/tests/"))
    {
        for (at, _) in file.text.match_indices("\"holdfast_") {
            let text = &file.text[at + 1..];
            if let Some(end) = text.find('"')
                && text[..end]
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            {
                found.insert(text[..end].to_owned());
            }
        }
    }
    found
}

/// Runbooks that alerts name and that are not there.
fn lost_runbooks(rules: &File, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let named = rules
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "));
    named
        .filter(|path| !exists(path))
        .map(|path| format!("{}: names `{path}`, which is not there", rules.path))
        .collect()
}

/// The nodes of the two compose files of clusters.
const THREE: [&str; 3] = ["a", "b", "c"];
const TWO: [&str; 2] = ["a", "b"];

/// What is wrong with the compose file of a cluster of these nodes, whose balancer and gates run these two files.
fn cluster(text: &str, nodes: &[&str], balancer: &str, gate: &str) -> Vec<String> {
    let mut found = Vec::new();
    let given = |service: &str, name: &str| {
        environment(text, service)
            .into_iter()
            .find_map(|(found, value)| (found == name).then_some(value))
    };
    let address = |service: &str| {
        below(text, &["services", service, "networks", "cluster"])
            .iter()
            .find_map(|line| line.strip_prefix("ipv4_address: ").map(str::to_owned))
    };
    for letter in nodes {
        let (node, its_gate) = (format!("node-{letter}"), format!("gate-{letter}"));
        let place = address(&its_gate);
        let places = [
            ("the gate listens at", given(&its_gate, "PROBE_ADDRESS")),
            (
                "the node's inbounds listen at",
                given(&node, "HOLDFAST_VALUE_LISTEN_HOST"),
            ),
            (
                "the balancer looks for it at",
                given("balancer", &format!("NODE_{}_HOST", letter.to_uppercase())),
            ),
        ];
        for (what, given) in places {
            if place.is_none() || given != place {
                found.push(format!("{node}: its address is {place:?}, but {what} {given:?}"));
            }
        }
        if given(&node, "HOLDFAST_NODE__ID").as_ref() != Some(&node) {
            found.push(format!("{node}: goes by another id"));
        }
        let has = |line: &str| {
            below(text, &["services", &node])
                .iter()
                .any(|found| found == line)
        };
        if !has(&format!("network_mode: service:{its_gate}")) {
            found.push(format!("{node}: does not share the network of {its_gate}"));
        }
    }
    for (service, file) in [("balancer", balancer), ("gate-a", gate)] {
        for (name, _) in environment(text, service) {
            if !file.contains(&format!("presetenv {name} ")) && !file.contains(&format!("defined({name})")) {
                found.push(format!("{service}: HAProxy's file knows no `{name}`"));
            }
        }
    }
    for port in below(text, &["services", "balancer", "ports"]) {
        let inner = port.rsplit(':').next().unwrap_or_default();
        if !port.starts_with("- 127.0.0.1:") {
            found.push(format!("`{port}` is published to others than this host"));
        }
        if !balancer.contains(&format!("PORT {inner}\n")) {
            found.push(format!("`{port}`: HAProxy's file listens at no {inner}"));
        }
    }
    if text.matches("ports:").count() != 1 {
        found.push("only the balancer publishes ports".to_owned());
    }
    for file in ["haproxy/haproxy.cfg", "haproxy/haproxy-probe.cfg"] {
        if !text.contains(&format!("- ./{file}:/usr/local/etc/haproxy/haproxy.cfg:ro")) {
            found.push(format!("`{file}` itself is not what runs"));
        }
    }
    found
}

/// Runs a program if it is there; what it complained about. A check that was not made is said aloud.
fn checked_by(program: &str, arguments: &[&str], folder: &str) -> Vec<String> {
    let answer = Command::new(program)
        .args(arguments)
        .current_dir(root().join(folder))
        .output();
    let Ok(answer) = answer else {
        let _ = writeln!(std::io::stderr(), "skipped: `{program}` is not installed here");
        return Vec::new();
    };
    if answer.status.success() {
        return Vec::new();
    }
    let said =
        String::from_utf8_lossy(&answer.stderr).into_owned() + &String::from_utf8_lossy(&answer.stdout);
    vec![format!("{program} {}: {said}", arguments.join(" "))]
}

#[test]
fn alerts_and_dashboard_name_metrics_that_the_product_exports() {
    let exported = exported();
    assert!(exported.len() > 30, "too few to be all: {exported:?}");
    let mut of_files = files("deploy/prometheus", ".yml");
    of_files.extend(files("deploy/grafana", ".json"));
    assert!(of_files.len() >= 3, "rules, their test, a dashboard");
    settle(
        of_files
            .iter()
            .flat_map(|file| unknown_metrics(file, &exported))
            .collect(),
    );
}

#[test]
fn alerts_name_runbooks_that_are_there() {
    let rules = files("deploy/prometheus", ".yml");
    settle(
        rules
            .iter()
            .flat_map(|file| lost_runbooks(file, |path| root().join(path).exists()))
            .collect(),
    );
}

#[test]
fn prometheus_accepts_the_alerts_and_they_fire_when_they_should() {
    let mut found = checked_by("promtool", &["check", "rules", "rules.yml"], "deploy/prometheus");
    found.extend(checked_by(
        "promtool",
        &["test", "rules", "rules.test.yml"],
        "deploy/prometheus",
    ));
    settle(found);
}

#[test]
fn systemd_knows_every_line_of_the_unit() {
    let unit = root().join("deploy/systemd/holdfast.service");
    let answer = Command::new("systemd-analyze").arg("verify").arg(&unit).output();
    let Ok(answer) = answer else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: `systemd-analyze` is not installed here"
        );
        return;
    };
    // It also looks for the program itself, which is not installed where tests run.
    let said = String::from_utf8_lossy(&answer.stderr);
    let of_the_unit = |line: &&str| line.contains("holdfast.service:") && !line.contains("is not executable");
    settle(said.lines().filter(of_the_unit).map(str::to_owned).collect());
}

#[test]
fn the_compose_file_of_a_cluster_fits_together_and_runs_the_files_of_this_repository() {
    let (balancer, gate) = (read("haproxy/haproxy.cfg"), read("haproxy/haproxy-probe.cfg"));
    let mut found = cluster(&read("docker-compose.cluster.yml"), &THREE, &balancer, &gate);
    found.extend(cluster(
        &read("docker-compose.sqlserver.yml"),
        &TWO,
        &balancer,
        &gate,
    ));
    settle(found);
}

/// What is wrong with the compose file that runs SQL Server; `exists` answers for a path from the root.
fn sqlserver(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let service = |name: &str| below(text, &["services", name]);
    for name in ["database", "database-prepared", "conformance"] {
        if service(name).is_empty() {
            found.push(format!("there is no service `{name}`"));
        }
        for (variable, value) in environment(text, name) {
            if variable.contains("PASSWORD") && !variable.ends_with("_FILE") {
                found.push(format!(
                    "{name}: `{variable}` is a secret; give it as a file from `secrets`"
                ));
            }
            if value.contains("://")
                && value
                    .split('@')
                    .next()
                    .is_some_and(|user| user.matches(':').count() > 1)
            {
                found.push(format!("{name}: `{variable}` holds a password"));
            }
        }
    }
    let own = text.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    for path in own
        .filter_map(|line| line.split(':').next())
        .filter(|path| !exists(path))
    {
        found.push(format!("mounts `{path}`, which is not there"));
    }
    let named = |rest: &str| {
        rest.split(char::is_whitespace)
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    for script in text.split("-i /scripts/").skip(1).map(named) {
        let script = format!("deploy/sqlserver/{script}");
        if !exists(&script) {
            found.push(format!("runs `{script}`, which is not there"));
        }
    }
    for line in [
        "HOLDFAST_STORE__BACKEND: sqlserver",
        "image: mcr.microsoft.com/mssql/server:2022-latest",
    ] {
        if !text.lines().any(|found| found.trim() == line) {
            found.push(format!("there is no line `{line}`"));
        }
    }
    let url = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("HOLDFAST_STORE__URL: "));
    if url.is_none_or(|url| !url.contains("cacert=") || url.contains("trustservercertificate")) {
        found.push("the nodes do not check the server's certificate".to_owned());
    }
    found
}

#[test]
fn the_compose_file_for_sql_server_runs_what_is_here_and_shows_no_secret() {
    settle(sqlserver(&read("docker-compose.sqlserver.yml"), |path| {
        root().join(path).exists()
    }));
}

#[test]
fn a_compose_file_for_sql_server_that_breaks_a_rule_is_named() {
    let good = read("docker-compose.sqlserver.yml");
    for (change, to, expected) in [
        (
            "MSSQL_SA_PASSWORD_FILE: /run",
            "MSSQL_SA_PASSWORD: /run",
            "is a secret",
        ),
        ("sqlserver://sa@", "sqlserver://sa:hunter2@", "holds a password"),
        (
            "- ./deploy/sqlserver:",
            "- ./deploy/mssql:",
            "mounts `deploy/mssql`",
        ),
        (
            "/scripts/roles.sql",
            "/scripts/role.sql",
            "runs `deploy/sqlserver/role.sql`",
        ),
        (
            "BACKEND: sqlserver",
            "BACKEND: postgres",
            "no line `HOLDFAST_STORE__BACKEND",
        ),
        (
            "holdfast?cacert=/run/secrets/database-ca.pem",
            "holdfast?trustservercertificate=true",
            "do not check",
        ),
        ("  conformance:", "  suite:", "no service `conformance`"),
    ] {
        let found = sqlserver(&good.replacen(change, to, 1), |path| root().join(path).exists());
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{to}: {found:?}"
        );
    }
}

/// What a compose file refers to and does not declare: secrets, volumes, networks and services, in block style and in
/// lists of one line; and the files that images are built from, of which `exists` knows.
fn undeclared(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))
        .collect();
    let declared = |section: &str| -> BTreeSet<String> {
        let start = lines.iter().position(|line| *line == format!("{section}:"));
        let inside = lines.iter().skip(start.map_or(lines.len(), |start| start + 1));
        let keys = inside.take_while(|line| indent(line) > 0);
        keys.filter(|line| indent(line) == 2)
            .map(|line| line.trim().trim_end_matches(':').to_owned())
            .collect()
    };
    let mut used: Vec<(&str, String)> = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| indent(line) > 0) {
        let Some((key, value)) = line.trim().split_once(':') else {
            continue;
        };
        let section = match key {
            "secrets" | "volumes" | "networks" => key,
            "depends_on" => "services",
            "network_mode" => {
                let other = value.trim().strip_prefix("service:");
                used.extend(other.map(|name| ("services", name.to_owned())));
                continue;
            }
            _ => continue,
        };
        if let Some(list) = value.trim().strip_prefix('[') {
            let names = list.trim_end_matches(']').split(',');
            used.extend(names.map(|name| (section, name.trim().to_owned())));
            continue;
        }
        let below: Vec<&str> = lines[at + 1..]
            .iter()
            .copied()
            .take_while(|below| indent(below) > indent(line))
            .collect();
        let first = below.first().map_or(0, |line| indent(line));
        for entry in below.into_iter().filter(|line| indent(line) == first) {
            let entry = entry.trim();
            let name = match entry.strip_prefix("- ") {
                // A place of the host, or a mount that is written out and names one.
                Some(entry) if entry.starts_with(['.', '/', '$']) || entry.starts_with("type: bind") => {
                    continue;
                }
                Some(entry) => entry.strip_prefix("source: ").unwrap_or(entry),
                None => entry,
            };
            used.push((section, name.split(':').next().unwrap_or_default().to_owned()));
        }
    }
    let mut found: Vec<String> = used
        .into_iter()
        .filter(|(section, name)| !declared(section).contains(name))
        .map(|(section, name)| format!("`{name}` is used, and not one of its `{section}`"))
        .collect();
    let built = lines
        .iter()
        .filter_map(|line| line.trim().strip_prefix("dockerfile: "));
    found.extend(
        built
            .filter(|path| !exists(path))
            .map(|path| format!("builds from `{path}`, which is not there")),
    );
    found
}

#[test]
fn compose_files_declare_what_they_refer_to() {
    for path in [
        "docker-compose.yml",
        "docker-compose.cluster.yml",
        "docker-compose.sqlserver.yml",
    ] {
        let found = undeclared(&read(path), |file| root().join(file).exists());
        assert!(found.is_empty(), "{path}: {found:?}");
    }
    let good = read("docker-compose.sqlserver.yml");
    for (change, to, expected) in [
        ("secrets: [sa_password, ", "secrets: [sa, ", "`sa` is used"),
        ("- source: database_ca", "- source: ca", "`ca` is used"),
        ("- sqlserver-data:/", "- data:/", "`data` is used"),
        ("networks: [cluster]", "networks: [nodes]", "`nodes` is used"),
        ("service:gate-b", "service:gate-c", "`gate-c` is used"),
        (
            "      database-prepared:",
            "      prepared:",
            "`prepared` is used",
        ),
        ("  sqlserver-files:\n", "", "`sqlserver-files` is used"),
        (
            "conformance.Dockerfile\n",
            "Dockerfile\n",
            "builds from `deploy/sqlserver/Dockerfile`",
        ),
    ] {
        let broken = if to.is_empty() {
            good.replace(change, to)
        } else {
            good.replacen(change, to, 1)
        };
        assert_ne!(broken, good, "there is no `{change}` any more");
        let found = undeclared(&broken, |path| root().join(path).exists());
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{to}: {found:?}"
        );
    }
}

#[test]
fn the_image_of_the_conformance_suite_is_built_as_the_node_is() {
    let (node, suite) = (
        read("Dockerfile"),
        read("deploy/sqlserver/conformance.Dockerfile"),
    );
    let base = |text: &str| {
        let from = instructions(text, "FROM").into_iter().next().unwrap_or_default();
        from.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(base(&node), base(&suite), "another Rust");
    let ignored = read(".dockerignore");
    let copied = instructions(&suite, "COPY");
    for line in instructions(&node, "COPY")
        .iter()
        .filter(|line| !line.starts_with("--from"))
    {
        assert!(copied.contains(line), "does not `COPY {line}`");
    }
    for line in &copied {
        let path = line.split(' ').next().unwrap_or_default();
        assert!(root().join(path).exists(), "copies `{path}`, which is not there");
        assert!(
            ignored.lines().any(|line| line == format!("!{path}")),
            ".dockerignore hides `{path}`"
        );
    }
}

#[test]
fn no_node_is_process_1_of_its_container() {
    let entry = instructions(&read("Dockerfile"), "ENTRYPOINT");
    assert_eq!(
        entry,
        ["[\"tini\", \"--\", \"holdfast\"]"],
        "the kernel spares process 1 from its own fencer"
    );
    for path in ["docker-compose.yml", "docker-compose.cluster.yml"] {
        assert!(!read(path).contains("entrypoint:"), "{path} takes tini away");
    }
    let text = read("docker-compose.sqlserver.yml");
    let shared = text
        .split("x-node:")
        .nth(1)
        .and_then(|rest| rest.split("x-settings:").next());
    assert!(shared.is_some_and(|node| !node.contains("entrypoint:")));
    for letter in TWO {
        let node = below(&text, &["services", &format!("node-{letter}")]).join("\n");
        assert!(
            !node.is_empty() && !node.contains("entrypoint:"),
            "node-{letter} takes tini away"
        );
    }
    assert!(!read("deploy/kubernetes/holdfast.yaml").contains("          command: [holdfast"));
}

#[test]
fn a_deployment_that_breaks_a_rule_is_named() {
    let file = |text: &str| File {
        path: "deploy/x.yml".to_owned(),
        text: text.to_owned(),
    };
    let exported = BTreeSet::from(["holdfast_ready".to_owned(), "holdfast_stage_seconds".to_owned()]);
    for (text, complaints) in [
        ("expr: holdfast_ready == 1", 0),
        ("rate(holdfast_stage_seconds_bucket[5m])", 0),
        ("label_values(holdfast_redy, job)", 1),
        ("/etc/holdfast/holdfast.env", 0),
    ] {
        assert_eq!(
            unknown_metrics(&file(text), &exported).len(),
            complaints,
            "{text}"
        );
    }
    let lost = lost_runbooks(&file("  runbook: runbooks/none.md"), |_| false);
    assert_eq!(lost.len(), 1, "{lost:?}");
    let good = read("docker-compose.cluster.yml");
    let (balancer, gate) = (read("haproxy/haproxy.cfg"), read("haproxy/haproxy-probe.cfg"));
    for (change, to, expected) in [
        (
            "PROBE_ADDRESS: 172.30.75.22",
            "PROBE_ADDRESS: 172.30.75.29",
            "the gate listens",
        ),
        (
            "LISTEN_HOST: 172.30.75.23",
            "LISTEN_HOST: 127.0.0.1",
            "inbounds listen",
        ),
        ("NODE_C_HOST: ", "NODE_D_HOST: ", "knows no `NODE_D_HOST`"),
        ("ID: node-b", "ID: node-a", "another id"),
        ("service:gate-b", "service:gate-a", "share the network"),
        ("- 127.0.0.1:2600", "- 2600", "published to others"),
        (":8404:8404", ":8404:9404", "listens at no 9404"),
        ("./haproxy/haproxy.cfg", "./haproxy.cfg", "is not what runs"),
    ] {
        let found = cluster(&good.replacen(change, to, 1), &THREE, &balancer, &gate);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{to}: {found:?}"
        );
    }
}
