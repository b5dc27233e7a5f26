//! Unsafe code comes from the interpreter's derive alone; nobody writes it here.

use std::path::Path;

#[test]
fn no_file_of_this_crate_has_unsafe_written_by_hand() {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        seen += 1;
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found = [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe extern",
                "unsafe trait",
            ];
            let about = line.contains("reason = ");
            assert!(
                about || !found.iter().any(|word| code.contains(word)),
                "{}:{}",
                path.display(),
                number + 1
            );
        }
    }
    assert!(seen > 30, "only {seen} files were looked at");
}
