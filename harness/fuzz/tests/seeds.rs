//! Every target runs on its own seeds: a target that takes none of them would fuzz nothing.

#[test]
fn every_seed_and_every_tenth_prefix_of_it_runs() {
    for target in recrash_fuzz::TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for seed in seeds {
            (target.run)(&seed);
            for end in (0..seed.len()).step_by(1 + seed.len() / 10) {
                (target.run)(&seed[..end]);
            }
        }
    }
}

#[test]
fn the_seeds_of_tables_that_are_searched_for_are_found() {
    for seed in recrash_fuzz::targets::kallsyms_find::seeds() {
        let found = recrash_debuginfo::kallsyms::find(&seed, |_| true);
        assert_eq!(found.map(|found| found.symbols.len()), Ok(3000));
    }
}
