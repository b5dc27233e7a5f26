//! How fast messages are made and checked: `cargo bench -p formats --bench generate`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use formats::hl7::generate::{Generator, Kind};
use formats::hl7::{Message, tree, validate};

fn generate(criterion: &mut Criterion) {
    let kind = Kind::parse("ADT^A01").expect("a known kind");
    let mut group = criterion.benchmark_group("generate");
    group.throughput(Throughput::Elements(1));
    let mut generator = Generator::new(1).size(1024);
    group.bench_function("ADT^A01 of 1 KB", |bencher| {
        bencher.iter(|| generator.message(black_box(&kind)))
    });
    let mut generator = Generator::new(1).size(1024);
    group.bench_function("mixed of 1 KB", |bencher| bencher.iter(|| generator.mixed()));
    let template = Generator::new(1).size(1024).template(&kind);
    group.bench_function("template of 1 KB", |bencher| {
        bencher.iter(|| template.render(black_box("G00000001"), Some("20250101120000"), Some("T000001")));
    });
    group.finish();

    let bytes = Generator::new(1).size(1024).message(&kind);
    let message = Message::parse(bytes).expect("generated messages parse");
    let options = validate::Options::default();
    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Elements(1));
    group.bench_function("strict validation of 1 KB", |bencher| {
        bencher.iter(|| validate::check(black_box(&message), &options));
    });
    group.bench_function("tree of 1 KB", |bencher| {
        bencher.iter(|| tree::build(black_box(&message)))
    });
    group.finish();
}

criterion_group!(benches, generate);
criterion_main!(benches);
