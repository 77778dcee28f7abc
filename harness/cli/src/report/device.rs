//! What the report says of a physical device: what the host's kernel knew of it when the run began. Reads no sysfs.
use recrash_machine::usbhost::Physical;

use super::Fact;

/// The device, statement by statement.
pub(crate) fn facts(device: &Physical) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("port", format!("{} (bus-port of this host)", device.port)),
        Fact::new(
            "id",
            format!("{:04x}:{:04x}", device.vendor, device.product),
        ),
    ];
    let strings = [
        ("manufacturer", &device.manufacturer),
        ("product", &device.product_string),
        ("serial", &device.serial),
    ];
    for (name, text) in strings {
        facts.extend(text.iter().map(|text| Fact::new(name, text.as_str())));
    }
    facts.push(Fact::new("speed", format!("{} Mbit/s", device.speed_mbit)));
    let class = match device.class {
        0 => {
            let classes = device.interfaces.iter();
            let classes: Vec<String> = classes.map(|one| format!("{:#04x}", one.class)).collect();
            format!("of its interfaces: {}", classes.join(", "))
        }
        class => format!("{class:#04x}"),
    };
    facts.push(Fact::new("class", class));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_machine::usbhost::Interface;

    fn check(class: u8, expected: &str) {
        let device = Physical {
            port: "1-2".into(),
            bus: 1,
            device: 4,
            vendor: 0x046b,
            product: 0xff20,
            version: "0100".into(),
            class,
            speed_mbit: "480".into(),
            manufacturer: None,
            product_string: Some("Virtual CDROM".into()),
            serial: None,
            interfaces: vec![Interface {
                name: "1-2:1.0".into(),
                class: 8,
                driver: None,
            }],
        };
        let facts = facts(&device);
        let lines: Vec<String> = facts
            .iter()
            .map(|fact| format!("{} {}", fact.name, fact.value))
            .collect();
        assert_eq!(lines.join("; "), expected);
    }

    #[test]
    fn only_what_is_known_is_told() {
        check(
            0,
            "port 1-2 (bus-port of this host); id 046b:ff20; product Virtual CDROM; speed 480 Mbit/s; \
             class of its interfaces: 0x08",
        );
        check(
            0xef,
            "port 1-2 (bus-port of this host); id 046b:ff20; product Virtual CDROM; speed 480 Mbit/s; class 0xef",
        );
    }
}
