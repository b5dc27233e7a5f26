use super::*;

fn load_text(text: &str) -> Result<(Settings, Vec<Origin>), Vec<Problem>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("holdfast.toml"), text).unwrap();
    load(folder.path(), &Overrides::new())
}

#[test]
fn a_file_overrides_a_default_and_says_so() {
    let (settings, origins) = load_text("[store]\nsegment_mb = 64\n").unwrap();
    assert_eq!(settings.store.segment_mb, 64);
    let origin = origins
        .iter()
        .find(|origin| origin.key == "store.segment_mb")
        .unwrap();
    assert_eq!(
        (origin.value.as_str(), origin.from.as_str()),
        ("64", "holdfast.toml")
    );
    let origin = origins.iter().find(|origin| origin.key == "node.id").unwrap();
    assert_eq!(origin.from, "default");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("holdfast.toml"), "[store]\nsegment_mb = 64\n").unwrap();
    let overrides = Overrides::from([("store.segment_mb".to_owned(), 32u64.into())]);
    let (settings, origins) = load(folder.path(), &overrides).unwrap();
    assert_eq!(settings.store.segment_mb, 32);
    assert!(
        origins
            .iter()
            .any(|origin| origin.key == "store.segment_mb" && origin.from == "command line")
    );
}

#[test]
fn a_repository_without_a_settings_file_has_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        load(folder.path(), &Overrides::new()).unwrap().0,
        Settings::default()
    );
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_and_a_suggestion() {
    let problems = load_text("[store]\nsegment_md = 64\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].span.as_ref().unwrap().line, 2);
    assert_eq!(
        problems[0].suggestion.as_deref(),
        Some("did you mean `store.segment_mb`?")
    );
}

#[test]
fn a_secret_in_the_file_is_refused() {
    let problems = load_text("[store]\npassword = \"hunter2\"\n").unwrap_err();
    assert_eq!(problems[0].code, "secret-in-file");
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn a_password_in_the_stores_url_is_refused_and_not_repeated() {
    for url in [
        "postgres://app:hunter2@db/holdfast",
        "postgres://app@db/holdfast?password=hunter2",
    ] {
        let text = format!("[store]\nbackend = \"postgres\"\nurl = \"{url}\"\n");
        let problems = load_text(&text).unwrap_err();
        assert!(problems[0].message.contains("store.url"), "{url}");
        assert!(!format!("{problems:?}").contains("hunter2"), "{url}");
    }
    let fine = "[store]\nbackend = \"postgres\"\nurl = \"postgres://app@db:5432/holdfast?sslmode=require\"\n";
    assert_eq!(load_text(fine).unwrap().0.store.backend, "postgres");
}

#[test]
fn a_backend_needs_what_it_is_reached_by() {
    let problems = load_text("[store]\nbackend = \"postgres\"\n").unwrap_err();
    assert!(problems[0].message.contains("store.url"));
    let problems = load_text("[store]\nbackend = \"oracle\"\n").unwrap_err();
    assert!(problems[0].suggestion.as_deref().unwrap().contains("postgres"));
}

#[test]
fn the_password_of_the_store_belongs_into_the_environment() {
    let problems = load_text("[store]\npassword = \"hunter2\"\n").unwrap_err();
    assert!(
        problems[0]
            .suggestion
            .as_deref()
            .unwrap()
            .contains(STORE_PASSWORD)
    );
    assert!(is_secret("store__password") && is_secret("STORE__PASSWORD") && !is_secret("store__url"));
}

#[test]
fn an_api_off_loopback_is_refused() {
    let problems = load_text("[api]\nbind = \"0.0.0.0:8765\"\n").unwrap_err();
    assert!(problems[0].message.contains("0.0.0.0:8765"));
}

#[test]
fn all_that_is_wrong_with_the_file_is_told_at_once_with_its_place() {
    let text = "[nodee]\n[node]\nid = \"a b\"\n[store]\nsegment_mb = \"abc\"\n[api]\nbind = \"0.0.0.0:80\"\n";
    let mut found: Vec<String> = load_text(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "holdfast.toml:1:2: error[unknown-setting]: `nodee` (from holdfast.toml) is not a setting",
            "holdfast.toml:3:1: error[bad-setting]: node.id `a b` is not an id",
            "holdfast.toml:5:1: error[bad-setting]: `store.segment_mb` wants a whole number, 0 or more, not `abc` (from holdfast.toml)",
            "holdfast.toml:7:1: error[bad-setting]: api.bind `0.0.0.0:80` is not a loopback address with a port",
        ]
    );
}

#[test]
fn what_is_left_of_a_message_is_not_kept_for_a_shorter_time_than_its_bodies() {
    let faults = |text: &str| load_text(text).err().unwrap_or_default();
    let shorter = faults("[retention]\ndays = 30\nmetadata_days = 29\n");
    assert_eq!(shorter.len(), 1, "{shorter:?}");
    assert!(shorter[0].to_string().contains("shorter than retention.days"));
    for fine in [
        "days = 30\nmetadata_days = 30",
        "metadata_days = 0",
        "days = 0\nmetadata_days = 1",
    ] {
        assert!(faults(&format!("[retention]\n{fine}\n")).is_empty(), "{fine}");
    }
    assert_eq!(faults("[retention]\nmetadata_days = 36501\n").len(), 1);
}

#[test]
fn a_value_that_does_not_fit_is_told_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = Overrides::from([("store.segment_mb".to_owned(), (-5i64).into())]);
    let problems = load(folder.path(), &overrides).unwrap_err();
    assert_eq!(
        problems[0].message,
        "`store.segment_mb` wants a whole number, 0 or more, not `-5` (from command line)"
    );
}

#[test]
fn an_empty_section_is_no_fault() {
    assert_eq!(load_text("[store]\n").unwrap().0, Settings::default());
}

#[test]
fn secrets_are_told_by_name_and_in_addresses_and_the_advice_can_be_followed() {
    for text in [
        "[store]\npassword = \"hunter2\"\n",
        "[store]\ndb_pwd = \"hunter2\"\n",
        "[store]\ndirectory = \"postgres://u:hunter2@h/db\"\n",
    ] {
        let problems = load_text(text).unwrap_err();
        assert_eq!(problems[0].code, "secret-in-file", "{text}");
        assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        assert!(
            !format!("{problems:?}").contains("HOLDFAST_VALUE_PASSWORD"),
            "{problems:?}"
        );
    }
}

#[test]
fn the_database_password_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let read = |file: &str| {
        let settings = StoreSettings {
            password_file: PathBuf::from(file),
            ..Settings::default().store
        };
        store_password(folder.path(), &settings)
    };
    for (content, expected) in [
        ("hunter2\n", "hunter2"),
        ("hunter2\r\n", "hunter2"),
        ("two words ", "two words "),
    ] {
        std::fs::write(folder.path().join("secret"), content).unwrap();
        assert_eq!(read("secret").unwrap().as_deref(), Some(expected), "{content:?}");
    }
    assert_eq!(read("").unwrap(), None);
    assert!(read("absent").is_err());
}

#[test]
fn bodies_are_compressed_by_themselves_only_on_a_server() {
    let compresses = |text: &str| load_text(text).unwrap().0.store.compresses();
    let server = "[store]\nbackend = \"postgres\"\nurl = \"postgres://a@localhost/b\"\n";
    assert!(!compresses(""));
    assert!(compresses("[store]\ncompression = \"on\"\n"));
    assert!(compresses(server));
    assert!(!compresses(&format!("{server}compression = \"off\"\n")));
    assert!(load_text("[store]\ncompression = \"zstd\"\n").is_err());
}
