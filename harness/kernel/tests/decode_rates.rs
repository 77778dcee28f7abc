//! How often bytes that mean nothing are taken for something: a million random words, and a million words of a real
//! kernel's memory, by kind and confidence. `cargo test -p recrash-kernel --test decode_rates -- --nocapture` prints
//! the rates; the bounds below are the ones that `decode` documents.
//!
//! A word of real memory may well be text, a descriptor or a fill pattern; its rates say how much such a finding
//! means, not that it is false. RECRASH_DUMPS names dumps, separated by colons.
use recrash_kernel::Kernel;
use recrash_kernel::corruption::written;
use recrash_kernel::decode::{Confidence, Kind, Known, Question, decode};
use recrash_kernel::usb::{self, StringKind, UsbDevice};
use recrash_vmcore::{PagingLevels, PhysAddr, PhysMem, VirtAddr, Vmcore};
use std::collections::BTreeMap;
use std::path::Path;

/// Words looked at.
const WORDS: usize = 1_000_000;

fn device() -> UsbDevice {
    UsbDevice {
        at: VirtAddr(0xffff_8880_0000_1000),
        name: "1-1".into(),
        bus: 1,
        number: Some(2),
        parent: None,
        vendor: 0x46f4,
        product_id: 1,
        speed: None,
        state: None,
        strings: vec![
            (StringKind::Product, "Virtual Mass Storage Device".into()),
            (StringKind::Manufacturer, "Somebody".into()),
            (StringKind::Serial, "00000001".into()),
        ],
        language: Some(0x0409),
        device_descriptor: vec![18, 1, 0, 2, 0, 0, 0, 64, 0xf4, 0x46, 1, 0, 0, 0, 1, 2, 3, 1],
        configurations: vec![vec![
            9, 2, 32, 0, 1, 1, 0, 0xc0, 50, 9, 4, 0, 0, 2, 8, 6, 80, 0, 7, 5, 0x81, 2, 0, 2, 0, 7,
            5, 2, 2, 0, 2, 0,
        ]],
        active_configuration: Some(1),
        bos: None,
        missing: Vec::new(),
    }
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Device(_) => "device",
        Kind::Descriptor(_) => "descriptor",
        Kind::Setup(_) => "setup packet",
        Kind::Text { .. } => "text",
        Kind::Poison { .. } => "poison",
        Kind::BitFlip { .. } => "bit flip",
        Kind::ErrorPointer { .. } => "error pointer",
        Kind::Zeroes => "zeros",
        Kind::Number(_) => "number",
    }
}

#[derive(Default)]
struct Rates {
    words: usize,
    found: BTreeMap<(&'static str, Confidence), usize>,
    examples: BTreeMap<(&'static str, Confidence), Vec<String>>,
}

impl Rates {
    fn add(&mut self, bytes: &[u8], known: &Known) {
        self.words += 1;
        let decoded = decode(&Question::of(bytes), known);
        if let Some(best) = decoded.best() {
            let key = (name(&best.kind), best.confidence);
            *self.found.entry(key).or_default() += 1;
            let examples = self.examples.entry(key).or_default();
            if examples.len() < 5 {
                examples.push(format!("{bytes:02x?} {:?}", best.kind));
            }
        }
    }

    fn rate(&self, kinds: &[&str], at_least: Confidence) -> f64 {
        let count: usize = (self.found.iter())
            .filter(|((kind, confidence), _)| kinds.contains(kind) && *confidence >= at_least)
            .map(|(_, count)| count)
            .sum();
        count as f64 / self.words.max(1) as f64
    }

    fn print(&self, what: &str) {
        println!("{what}: {} words", self.words);
        for (key, count) in &self.found {
            let rate = *count as f64 / self.words as f64;
            println!(
                "  {:14} {:10} {count:8} {rate:.1e}",
                key.0,
                format!("{:?}", key.1)
            );
            for example in self.examples.get(key).into_iter().flatten() {
                println!("      {example}");
            }
        }
    }
}

/// SplitMix64: the same words on every machine.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

const ALL: [&str; 7] = [
    "device",
    "descriptor",
    "setup packet",
    "text",
    "poison",
    "bit flip",
    "error pointer",
];

#[test]
fn of_a_million_random_words_hardly_one_is_taken_for_anything() {
    let known = Known::of(&[device()]);
    let mut rates = Rates::default();
    let mut state = 3;
    for _ in 0..WORDS {
        rates.add(&random(&mut state).to_le_bytes(), &known);
    }
    rates.print("random");
    assert!(rates.rate(&ALL, Confidence::Proven) == 0.0);
    assert!(rates.rate(&ALL, Confidence::Structural) < 1e-4);
    assert!(rates.rate(&ALL, Confidence::Plausible) < 5e-3);
}

#[test]
fn of_a_million_random_halves_of_a_pointer_hardly_one_is_taken_for_anything() {
    let known = Known::of(&[device()]);
    let mut rates = Rates::default();
    let mut state = 5;
    for _ in 0..WORDS {
        rates.add(&random(&mut state).to_le_bytes()[..4], &known);
    }
    rates.print("random, four bytes");
    assert!(rates.rate(&ALL, Confidence::Proven) < 1e-5);
    assert!(rates.rate(&ALL, Confidence::Structural) < 1e-4);
}

/// A wild pointer is asked twice, whole and by its low half, and may still not come out as something sent more often
/// than four or eight bytes alone do.
#[test]
fn of_a_million_wild_pointers_hardly_one_is_taken_for_what_a_device_sent() {
    let known = Known::of(&[device()]);
    let mut state = 11;
    for levels in [PagingLevels::Four, PagingLevels::Five] {
        for upper in [None, Some(0xffff_8cfc_u64), Some(0xffff_ffff)] {
            let found = (0..WORDS)
                .filter(|index| {
                    let word = random(&mut state);
                    let pointer = upper.map_or(word, |upper| upper << 32 | word & 0xffff_ffff);
                    let offset = (*index as u64 % 32) * 8;
                    written(pointer, offset, levels, &known).is_some()
                })
                .count();
            let rate = found as f64 / WORDS as f64;
            println!("{levels:?} {upper:x?}: {found} {rate:.1e}");
            assert!(rate < 1e-4, "{levels:?} {upper:x?}: {rate:.1e}");
        }
    }
}

#[test]
fn of_a_million_words_of_a_real_kernel_few_are_taken_for_what_a_device_sent() {
    let Ok(dumps) = std::env::var("RECRASH_DUMPS") else {
        eprintln!("RECRASH_DUMPS names no dump");
        return;
    };
    for path in dumps.split(':') {
        let dump = Vmcore::open(Path::new(path)).unwrap();
        let info = dump.vmcoreinfo().unwrap();
        let kernel = Kernel::open(&dump, info, dump.prstatus()).unwrap();
        let known = Known::of(&usb::devices(&kernel).unwrap().0);
        let end = kernel.u64_at_symbol("max_pfn").unwrap() << 12;
        let mut rates = Rates::default();
        let mut state = 7;
        // Pages at random, every word that is not zero; a page in the dump is read whole.
        while rates.words < WORDS {
            let page = (random(&mut state) % end) & !0xfff;
            let mut bytes = [0; 4096];
            if dump.read(PhysAddr(page), &mut bytes).is_err() {
                continue;
            }
            for word in bytes.chunks_exact(8).filter(|word| word != &[0; 8]) {
                rates.add(word, &known);
            }
        }
        rates.print(path);
        let formats = ["descriptor", "setup packet"];
        assert!(rates.rate(&formats, Confidence::Structural) < 1e-4);
    }
}
