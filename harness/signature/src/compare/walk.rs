//! Walks the facts of two signatures. Every group is destructured, so that a new fact breaks the
//! build until someone decides how it compares.

use super::basis::{self, Basis};
use super::decoded::{self, Relation};
use super::{Comparison, Difference, Gap, Part, place, rules};
use crate::model::{Context, Corruption, Decoded, Fact, Fault, Frames, Signature, Site, Slab};
use crate::normalise;
use std::fmt::Display;

/// All differences and gaps; the verdict is still open.
pub(super) fn differences(golden: &Signature, found: &Signature) -> Comparison {
    let mut walk = Walk {
        golden,
        found,
        out: Comparison::inconclusive(""),
    };
    // Titles are derived from the facts, alternative titles count with the report; the schema was checked when the
    // text was read.
    let Signature {
        schema: _,
        title: _,
        alternative_titles: _,
        bug: _,
        fault,
        frames,
        slab,
        corruption,
        context,
    } = golden;
    walk.fault(fault, &found.fault);
    walk.frames(frames, &found.frames);
    walk.slab(slab, &found.slab);
    walk.corruption(corruption, &found.corruption);
    walk.context(context, &found.context);
    walk.out
}

struct Walk<'a> {
    golden: &'a Signature,
    found: &'a Signature,
    out: Comparison,
}

impl Walk<'_> {
    fn fault(&mut self, golden: &Fault, found: &Fault) {
        let Fault {
            vector,
            trap,
            class,
            function,
            offset,
            instruction,
            base_register,
            base_role,
            index_role,
            hardware_vector,
            report,
        } = golden;
        self.fact("fault.vector", Part::Detail, vector, &found.vector);
        self.fact("fault.trap", Part::Detail, trap, &found.trap);
        if let Some((a, b)) = self.both("fault.class", Part::Identity, class, &found.class) {
            if a.family() != b.family() {
                self.differs(
                    "fault.class",
                    Part::Identity,
                    a,
                    b,
                    "another class of fault",
                );
            } else if a != b {
                self.differs("fault.class", Part::Detail, a, b, COUNTS);
            }
        }
        self.fact("fault.function", Part::Detail, function, &found.function);
        // An offset belongs to one build of the kernel.
        self.fact("fault.offset", Part::Context, offset, &found.offset);
        self.fact(
            "fault.instruction",
            Part::Detail,
            instruction,
            &found.instruction,
        );
        self.fact(
            "fault.base-register",
            Part::Detail,
            base_register,
            &found.base_register,
        );
        self.fact("fault.base-role", Part::Detail, base_role, &found.base_role);
        self.fact(
            "fault.index-role",
            Part::Detail,
            index_role,
            &found.index_role,
        );
        self.fact(
            "fault.hardware-vector",
            Part::Detail,
            hardware_vector,
            &found.hardware_vector,
        );
        self.report(report, &found.report);
    }

    /// With a corruption the report's words tell no more than the trap does, which another kernel words otherwise;
    /// without one, the report says which bug it is.
    fn report(&mut self, golden: &Fact<String>, found: &Fact<String>) {
        let part = match basis::of(self.golden, self.found) {
            Basis::Corruption => Part::Context,
            Basis::Report => Part::Identity,
        };
        let (golden, found) = match part {
            Part::Identity => (
                basis::report(self.golden, golden),
                basis::report(self.found, found),
            ),
            _ => (golden.clone(), found.clone()),
        };
        let shared = || basis::share_a_title(self.golden, &golden, self.found, &found);
        if part == Part::Identity && golden != found && shared() {
            return;
        }
        self.fact("fault.report", part, &golden, &found);
    }

    fn frames(&mut self, golden: &Frames, found: &Frames) {
        let Frames { chain, syscall: _ } = golden;
        let (a, b) = (place::located(chain), place::located(&found.chain));
        if let Some((a, b)) = self.both("frames.chain", Part::Place, &a, &b) {
            for difference in place::differences(a, b) {
                let place::Different {
                    field,
                    golden,
                    found,
                } = difference;
                self.differs(field, Part::Place, &golden, &found, "another place");
            }
        }
        let (a, b) = (place::call(golden), place::call(found));
        self.fact("frames.syscall", Part::Place, &a, &b);
    }

    fn slab(&mut self, golden: &Slab, found: &Slab) {
        let Slab {
            cache,
            object_size,
            freelist_offset,
            hardened,
        } = golden;
        let identity = self.of_corruption();
        self.fact("slab.cache", identity, cache, &found.cache);
        self.fact(
            "slab.object-size",
            Part::Detail,
            object_size,
            &found.object_size,
        );
        self.fact(
            "slab.freelist-offset",
            Part::Detail,
            freelist_offset,
            &found.freelist_offset,
        );
        self.fact("slab.hardened", Part::Detail, hardened, &found.hardened);
    }

    fn corruption(&mut self, golden: &Corruption, found: &Corruption) {
        // Proofs are prose; what they come to is the confidence.
        let Corruption {
            site,
            bytes,
            observed,
            decoded,
            confidence,
            proof: _,
        } = golden;
        let identity = self.of_corruption();
        self.site(identity, site, &found.site);
        self.fact("corruption.bytes", Part::Detail, bytes, &found.bytes);
        self.fact(
            "corruption.observed",
            Part::Detail,
            observed,
            &found.observed,
        );
        if let Some((a, b)) = self.both("corruption.decoded", identity, decoded, &found.decoded) {
            self.decoded(a, b);
        }
        self.fact(
            "corruption.confidence",
            Part::Context,
            confidence,
            &found.confidence,
        );
    }

    /// A register that held the value is not where it was overwritten: that is not known then, and not another place.
    fn site(&mut self, part: Part, golden: &Fact<Site>, found: &Fact<Site>) {
        let only_a_register = |site: &Fact<Site>| match site.value() {
            Some(Site::Register { name }) => Some(Gap {
                field: "corruption.site".to_owned(),
                part,
                reason: format!("known only as the contents of {name}"),
            }),
            _ => None,
        };
        match (only_a_register(golden), only_a_register(found)) {
            (Some(gap), None) if found.value().is_some() => self.out.uncovered.push(gap),
            (None, Some(gap)) if golden.value().is_some() => self.out.unknown.push(gap),
            _ => self.fact("corruption.site", part, golden, found),
        }
    }

    /// What the facts of a corruption mean: nothing where neither crash is one.
    fn of_corruption(&self) -> Part {
        match basis::of(self.golden, self.found) {
            Basis::Corruption => Part::Identity,
            Basis::Report => Part::Context,
        }
    }

    fn decoded(&mut self, golden: &Decoded, found: &Decoded) {
        let field = "corruption.decoded";
        let gap = |reason| Gap {
            field: field.to_owned(),
            part: Part::Identity,
            reason,
        };
        match decoded::relation(self.golden, self.found, golden, found) {
            Relation::Same => {}
            Relation::Unproven(reason) => self.out.unknown.push(gap(reason)),
            Relation::GoldenUnproven(reason) => self.out.uncovered.push(gap(reason)),
            Relation::Other(why) => {
                if let (
                    Decoded::UsbDescriptor { descriptor: a, .. },
                    Decoded::UsbDescriptor { descriptor: b, .. },
                ) = (golden, found)
                {
                    self.differs(field, Part::Identity, a, b, &why);
                } else {
                    self.differs(field, Part::Identity, golden, found, &why);
                }
                return;
            }
        }
        self.decoded_parts(golden, found);
    }

    /// The parts of two decodings of one kind.
    fn decoded_parts(&mut self, golden: &Decoded, found: &Decoded) {
        match (golden, found) {
            (
                Decoded::UsbDescriptor {
                    descriptor,
                    offset,
                    length,
                    text,
                    whole,
                    langids,
                },
                Decoded::UsbDescriptor {
                    descriptor: found_type,
                    offset: found_offset,
                    length: found_length,
                    text: found_text,
                    whole: found_whole,
                    langids: found_langids,
                },
            ) if descriptor == found_type => {
                if offset != found_offset {
                    let field = "corruption.decoded.offset";
                    self.differs(field, Part::Detail, offset, found_offset, COUNTS);
                }
                self.option(
                    "corruption.decoded.length",
                    length.as_ref(),
                    found_length.as_ref(),
                );
                self.option(
                    "corruption.decoded.text",
                    text.as_ref(),
                    found_text.as_ref(),
                );
                self.option(
                    "corruption.decoded.whole",
                    whole.as_ref(),
                    found_whole.as_ref(),
                );
                let list = |ids: &Option<Vec<u16>>| ids.as_ref().map(|ids| format!("{ids:04x?}"));
                let (a, b) = (list(langids), list(found_langids));
                self.option("corruption.decoded.langids", a.as_ref(), b.as_ref());
            }
            (Decoded::BitFlip { .. }, Decoded::BitFlip { .. }) if golden != found => {
                let field = "corruption.decoded";
                self.differs(field, Part::Detail, golden, found, COUNTS);
            }
            _ => {}
        }
    }

    fn context(&mut self, golden: &Context, found: &Context) {
        let Context {
            accelerator,
            comm,
            cpu,
            gfp_flags,
            init_on_alloc,
            kaslr,
            la57,
            release,
            request,
            requested_size,
        } = golden;
        let part = Part::Context;
        self.fact("context.accelerator", part, accelerator, &found.accelerator);
        self.fact("context.comm", part, comm, &found.comm);
        self.fact("context.cpu", part, cpu, &found.cpu);
        self.fact("context.gfp-flags", part, gfp_flags, &found.gfp_flags);
        self.fact(
            "context.init-on-alloc",
            part,
            init_on_alloc,
            &found.init_on_alloc,
        );
        self.fact("context.kaslr", part, kaslr, &found.kaslr);
        self.fact("context.la57", part, la57, &found.la57);
        self.fact("context.release", part, release, &found.release);
        self.fact("context.request", part, request, &found.request);
        self.fact(
            "context.requested-size",
            part,
            requested_size,
            &found.requested_size,
        );
    }

    /// Both values; a gap is noted where one is missing.
    fn both<'f, T>(
        &mut self,
        field: &str,
        part: Part,
        golden: &'f Fact<T>,
        found: &'f Fact<T>,
    ) -> Option<(&'f T, &'f T)> {
        let gap = |reason: &str| Gap {
            field: field.to_owned(),
            part,
            reason: reason.to_owned(),
        };
        match (golden, found) {
            (Fact::Absent { reason }, _) => self.out.uncovered.push(gap(reason)),
            (_, Fact::Absent { reason }) => self.out.unknown.push(gap(reason)),
            (Fact::Known { value: a, .. }, Fact::Known { value: b, .. }) => return Some((a, b)),
        }
        None
    }

    fn fact<T: PartialEq + Display>(
        &mut self,
        field: &str,
        part: Part,
        golden: &Fact<T>,
        found: &Fact<T>,
    ) {
        if let Some((a, b)) = self.both(field, part, golden, found)
            && a != b
        {
            self.differs(field, part, a, b, COUNTS);
        }
    }

    /// A part of a decoded value that either side may lack.
    fn option<T: PartialEq + Display>(
        &mut self,
        field: &str,
        golden: Option<&T>,
        found: Option<&T>,
    ) {
        let fact = |value: Option<&T>| match value {
            Some(value) => Fact::known(value.to_string(), crate::Source::Derived),
            None => Fact::absent("the decoded bytes do not hold it"),
        };
        // Neither has it: not a gap, the kind of descriptor has no such part.
        if golden.is_some() || found.is_some() {
            self.fact(field, Part::Detail, &fact(golden), &fact(found));
        }
    }

    fn differs(
        &mut self,
        field: &str,
        part: Part,
        golden: &dyn Display,
        found: &dyn Display,
        why: &str,
    ) {
        let rule = rules::explain(field, self.golden, self.found);
        let list = match (rule, part) {
            (Some(_), _) => &mut self.out.explained,
            (None, Part::Context) => &mut self.out.context,
            (None, _) => &mut self.out.unexplained,
        };
        list.push(Difference {
            field: field.to_owned(),
            part,
            golden: golden.to_string(),
            found: found.to_string(),
            rule: rule.map(|rule| rule.name),
            reason: match (rule, part) {
                (Some(rule), _) => rule.reason,
                (None, Part::Context) => CIRCUMSTANCE,
                (None, _) => why,
            }
            .to_owned(),
        });
    }
}

const COUNTS: &str = "no rule explains it";

const CIRCUMSTANCE: &str =
    "it may differ between two crashes of one bug, so it is shown and does not count";

/// Two sites are one where only a boot's random choice tells their caches apart.
pub(crate) fn same_site(a: &Site, b: &Site) -> bool {
    match (a, b) {
        (Site::FreelistPointer { cache: a }, Site::FreelistPointer { cache: b }) => {
            normalise::cache(a) == normalise::cache(b)
        }
        (a, b) => a == b,
    }
}
