//! What was overwritten and by what, as far as a text tells: its group of the signature. The counterpart of
//! `extract/corruption.rs`, with which it shares what a reading is called.
use recrash_kernel::decode::{Kind, Reading};
use recrash_signature::model::{Bytes, Corruption, Fact, Role, Site, Source, Span};
use recrash_signature::normalise;
use recrash_transcript::account::{self, Account};

use super::facts::{Reader, held, is_list_plus_offset};
use crate::extract::corruption::{confidence, decoded, none};

pub(super) fn corruption(from: &Reader, account: &Account) -> Corruption {
    let found = match &account.decoded {
        Ok(known) => &known.value,
        Err(why) => return hidden(account, why),
    };
    let Some((site, value)) = site(account) else {
        return none("the text does not show where the wild value was read from");
    };
    let site = match site {
        Ok(site) => Fact::known(site, Source::Derived),
        Err(why) => Fact::absent(why),
    };
    let reading = found.best();
    Corruption {
        site,
        bytes: Fact::known(Span { start: 0, end: 8 }, from.read),
        observed: Fact::known(Bytes(value.to_le_bytes().to_vec()), from.read),
        decoded: match reading {
            Some(reading) => Fact::known(decoded(Some(reading)), Source::Derived),
            // The devices, whose strings could tell, are in no text.
            None => Fact::absent(
                "nothing was recognised, and the text does not show the devices present",
            ),
        },
        confidence: Fact::from_option(
            reading.map(confidence),
            Source::Derived,
            "nothing was recognised",
        ),
        proof: Fact::known(proof(account, reading), Source::Derived),
    }
}

/// The bytes are not known, for `why`; of which list they were may be.
fn hidden(account: &Account, why: &str) -> Corruption {
    let site = freelist_of(account).ok();
    Corruption {
        site: Fact::from_option(
            site.filter(|_| is_list_plus_offset(account)),
            Source::Derived,
            why,
        ),
        ..none(why)
    }
}

/// What was overwritten, and with what: the list that was read, else what the base register held.
fn site(account: &Account) -> Option<(Result<Site, String>, u64)> {
    let origin = account
        .origins
        .iter()
        .find(|origin| origin.role == account::Role::Base);
    if let Ok(list) = &account.freelist {
        let of_base =
            origin.is_none_or(|origin| origin.value.is_none_or(|value| value == list.value.value));
        if of_base {
            return Some((freelist_of(account), list.value.value));
        }
    }
    let origin = origin?;
    let site = match held(origin) {
        Some(Role::FreelistPointer) => freelist_of(account),
        _ => Err("the text does not show what the wild value was read from".into()),
    };
    Some((site, origin.value?))
}

fn freelist_of(account: &Account) -> Result<Site, String> {
    let cache = account.cache.as_ref().map_err(Clone::clone)?;
    match &cache.value.name {
        Some(name) => Ok(Site::FreelistPointer {
            cache: normalise::cache(name),
        }),
        None => Err("the name of the cache is not known".into()),
    }
}

/// What the decoding rests on. No addresses: they differ from boot to boot.
fn proof(account: &Account, reading: Option<&Reading>) -> Vec<String> {
    let held = account.checks.iter().filter(|check| check.holds);
    let of_list = held.filter(|check| check.what.starts_with("kmem_cache_cpu.freelist =="));
    let mut lines: Vec<String> = of_list
        .map(|check| format!("{}: {}", check.what, check.meaning))
        .collect();
    if let Some(Kind::Descriptor(found)) = reading.map(|reading| &reading.kind) {
        let text = found
            .text
            .as_ref()
            .map(|text| format!(", and what follows is the UTF-16 text {text:?}"));
        lines.push(format!(
            "bLength {} and bDescriptorType {} agree{}",
            found.length,
            found.kind,
            text.unwrap_or_default()
        ));
    }
    lines.push(
        "not compared with the strings of the devices present, which the text does not show".into(),
    );
    lines
}
