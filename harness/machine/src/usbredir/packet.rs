//! The packets of the usb-redir protocol 0.7 as values, and their fixed fields as bytes. Knows neither
//! framing ([`super::codec`]) nor what a packet asks for ([`super::session`]).
//!
//! Source: usbredirproto.h of usbredir 0.7. All numbers are little endian and packed.
use serde::{Deserialize, Serialize};

/// Capabilities that either side announces in its hello; bit numbers as in usbredirproto.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caps(pub u32);

impl Caps {
    /// device_connect carries bcdDevice.
    pub const CONNECT_DEVICE_VERSION: Self = Self(1 << 1);
    /// filter_reject and filter_filter are understood.
    pub const FILTER: Self = Self(1 << 2);
    /// device_disconnect is acknowledged.
    pub const DEVICE_DISCONNECT_ACK: Self = Self(1 << 3);
    /// ep_info carries the packet sizes.
    pub const EP_INFO_MAX_PACKET_SIZE: Self = Self(1 << 4);
    /// Packet ids have 64 bits (a 16-byte packet header).
    pub const WIDE_IDS: Self = Self(1 << 5);
    /// Bulk lengths have 32 bits.
    pub const WIDE_BULK_LENGTH: Self = Self(1 << 6);
    /// ep_info carries the number of bulk streams.
    pub const BULK_STREAMS: Self = Self(1 << 0);

    /// What this implementation announces. QEMU 7.2 refuses a device on xhci without the last three.
    pub const OURS: Self = Self(
        Self::CONNECT_DEVICE_VERSION.0
            | Self::FILTER.0
            | Self::DEVICE_DISCONNECT_ACK.0
            | Self::EP_INFO_MAX_PACKET_SIZE.0
            | Self::WIDE_IDS.0
            | Self::WIDE_BULK_LENGTH.0,
    );

    /// Whether all of `other` is there.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What both sides have: only that is in force.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// A number or array of numbers in a packet.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it off the front of `bytes`; what is missing counts as zero.
    fn take(bytes: &mut &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Self {
                let mut raw = [0; size_of::<$type>()];
                let n = raw.len().min(bytes.len());
                let (head, rest) = bytes.split_at(n);
                for (to, from) in raw.iter_mut().zip(head) {
                    *to = *from;
                }
                *bytes = rest;
                <$type>::from_le_bytes(raw)
            }
        }
    )*};
}
number!(u8, u16, u32);

impl<T: Field, const N: usize> Field for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        for one in self {
            one.put(out);
        }
    }
    fn take(bytes: &mut &[u8]) -> Self {
        std::array::from_fn(|_| T::take(bytes))
    }
}

/// Declares [`Body`] with each packet's number and fields, in the order in which they lie in it.
macro_rules! packets {
    ($($(#[$doc:meta])* $name:ident = $kind:literal { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        /// The fixed fields of a packet.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Body {
            $($(#[$doc])* $name { $($(#[$fdoc])* $field: $type),* },)*
        }

        impl Body {
            /// The packet's number.
            pub fn kind(&self) -> u32 {
                match self { $(Self::$name { .. } => $kind,)* }
            }

            /// Appends all fields, in their longest form.
            pub(super) fn put(&self, out: &mut Vec<u8>) {
                match self { $(Self::$name { $($field),* } => { $($field.put(out);)* let _ = &out; })* }
            }

            /// Reads the fields of packet `kind`; what `bytes` lacks counts as zero. `None`: no such packet.
            pub(super) fn take(kind: u32, mut bytes: &[u8]) -> Option<Self> {
                match kind {
                    $($kind => { $(let $field = <$type>::take(&mut bytes);)* Some(Self::$name { $($field),* }) })*
                    _ => None,
                }
            }

            /// Bytes of the fields of packet `kind` in their longest form.
            fn longest(kind: u32) -> Option<usize> {
                match kind { $($kind => Some(0 $(+ size_of::<$type>())*),)* _ => None }
            }
        }
    };
}

packets! {
    /// First packet of either side; the capabilities follow as 32-bit words.
    Hello = 0 {
        /// Free text, padded with zeroes.
        version: [u8; 64],
    }
    /// Host: the device is there.
    DeviceConnect = 1 {
        /// 0 low, 1 full, 2 high, 3 super.
        speed: u8,
        /// bDeviceClass.
        class: u8,
        /// bDeviceSubClass.
        subclass: u8,
        /// bDeviceProtocol.
        protocol: u8,
        /// idVendor.
        vendor: u16,
        /// idProduct.
        product: u16,
        /// bcdDevice; only with [`Caps::CONNECT_DEVICE_VERSION`].
        version: u16,
    }
    /// Host: the device is gone.
    DeviceDisconnect = 2 {}
    /// Guest: reset the device. Not answered.
    Reset = 3 {}
    /// Host: the interfaces of the configuration, before device_connect and after a change.
    InterfaceInfo = 4 {
        /// How many of the array elements count.
        count: u32,
        /// bInterfaceNumber.
        number: [u8; 32],
        /// bInterfaceClass.
        class: [u8; 32],
        /// bInterfaceSubClass.
        subclass: [u8; 32],
        /// bInterfaceProtocol.
        protocol: [u8; 32],
    }
    /// Host: the endpoints, OUT 0 to 15 then IN 0 to 15.
    EpInfo = 5 {
        /// Transfer type as in bmAttributes, 255 for none.
        kind: [u8; 32],
        /// bInterval.
        interval: [u8; 32],
        /// bInterfaceNumber.
        interface: [u8; 32],
        /// wMaxPacketSize; only with [`Caps::EP_INFO_MAX_PACKET_SIZE`].
        max_packet: [u16; 32],
        /// Only with [`Caps::BULK_STREAMS`].
        max_streams: [u32; 32],
    }
    /// Guest: SET_CONFIGURATION.
    SetConfiguration = 6 {
        /// bConfigurationValue.
        configuration: u8,
    }
    /// Guest: GET_CONFIGURATION.
    GetConfiguration = 7 {}
    /// Host: answer to both.
    ConfigurationStatus = 8 {
        /// [`Status`].
        status: u8,
        /// bConfigurationValue in force.
        configuration: u8,
    }
    /// Guest: SET_INTERFACE.
    SetAltSetting = 9 {
        /// bInterfaceNumber.
        interface: u8,
        /// bAlternateSetting.
        alt: u8,
    }
    /// Guest: GET_INTERFACE.
    GetAltSetting = 10 {
        /// bInterfaceNumber.
        interface: u8,
    }
    /// Host: answer to both.
    AltSettingStatus = 11 {
        /// [`Status`].
        status: u8,
        /// bInterfaceNumber.
        interface: u8,
        /// bAlternateSetting in force.
        alt: u8,
    }
    /// Guest: begin isochronous traffic.
    StartIsoStream = 12 {
        /// bEndpointAddress.
        endpoint: u8,
        /// Packets in each URB.
        packets_per_urb: u8,
        /// URBs in flight.
        urbs: u8,
    }
    /// Guest: end it.
    StopIsoStream = 13 {
        /// bEndpointAddress.
        endpoint: u8,
    }
    /// Host: answer to both.
    IsoStreamStatus = 14 {
        /// [`Status`].
        status: u8,
        /// bEndpointAddress.
        endpoint: u8,
    }
    /// Guest: poll an interrupt IN endpoint.
    StartInterruptReceiving = 15 {
        /// bEndpointAddress.
        endpoint: u8,
    }
    /// Guest: stop that.
    StopInterruptReceiving = 16 {
        /// bEndpointAddress.
        endpoint: u8,
    }
    /// Host: answer to both.
    InterruptReceivingStatus = 17 {
        /// [`Status`].
        status: u8,
        /// bEndpointAddress.
        endpoint: u8,
    }
    /// Guest: allocate bulk streams.
    AllocBulkStreams = 18 {
        /// One bit an endpoint.
        endpoints: u32,
        /// How many.
        streams: u32,
    }
    /// Guest: free them.
    FreeBulkStreams = 19 {
        /// One bit an endpoint.
        endpoints: u32,
    }
    /// Host: answer to both.
    BulkStreamsStatus = 20 {
        /// One bit an endpoint.
        endpoints: u32,
        /// How many.
        streams: u32,
        /// [`Status`].
        status: u8,
    }
    /// Guest: give up the transfer with this packet's id.
    CancelDataPacket = 21 {}
    /// Guest: its filter does not let the device in.
    FilterReject = 22 {}
    /// Either: the filter in force, as text with a zero at its end.
    FilterFilter = 23 {}
    /// Guest: answer to device_disconnect.
    DeviceDisconnectAck = 24 {}
    /// Guest: buffer bulk input.
    StartBulkReceiving = 25 {
        /// Bulk stream.
        stream: u32,
        /// Bytes of each transfer.
        bytes_per_transfer: u32,
        /// bEndpointAddress.
        endpoint: u8,
        /// Transfers in flight.
        transfers: u8,
    }
    /// Guest: stop that.
    StopBulkReceiving = 26 {
        /// Bulk stream.
        stream: u32,
        /// bEndpointAddress.
        endpoint: u8,
    }
    /// Host: answer to both.
    BulkReceivingStatus = 27 {
        /// Bulk stream.
        stream: u32,
        /// bEndpointAddress.
        endpoint: u8,
        /// [`Status`].
        status: u8,
    }
    /// A control transfer and its answer.
    Control = 100 {
        /// 0x00 or 0x80.
        endpoint: u8,
        /// bRequest.
        request: u8,
        /// bmRequestType.
        request_type: u8,
        /// [`Status`].
        status: u8,
        /// wValue.
        value: u16,
        /// wIndex.
        index: u16,
        /// Asked for, or transferred, in bytes.
        length: u16,
    }
    /// A bulk transfer and its answer.
    Bulk = 101 {
        /// bEndpointAddress.
        endpoint: u8,
        /// [`Status`].
        status: u8,
        /// Bytes, the low 16 bits.
        length: u16,
        /// Bulk stream.
        stream: u32,
        /// Bytes, the high 16 bits; only with [`Caps::WIDE_BULK_LENGTH`].
        length_high: u16,
    }
    /// An isochronous packet.
    Iso = 102 {
        /// bEndpointAddress.
        endpoint: u8,
        /// [`Status`].
        status: u8,
        /// Bytes.
        length: u16,
    }
    /// An interrupt packet.
    Interrupt = 103 {
        /// bEndpointAddress.
        endpoint: u8,
        /// [`Status`].
        status: u8,
        /// Bytes.
        length: u16,
    }
}

impl Body {
    /// Bytes of the fields of packet `kind` under the capabilities in force; shorter forms are prefixes of longer ones.
    pub(super) fn len_of(kind: u32, caps: Caps) -> Option<usize> {
        let longest = Self::longest(kind)?;
        let cut = match kind {
            1 if !caps.has(Caps::CONNECT_DEVICE_VERSION) => 2,
            5 if !caps.has(Caps::EP_INFO_MAX_PACKET_SIZE) => 64 + 128,
            5 if !caps.has(Caps::BULK_STREAMS) => 128,
            101 if !caps.has(Caps::WIDE_BULK_LENGTH) => 2,
            _ => 0,
        };
        Some(longest.saturating_sub(cut))
    }

    /// Most bytes that may follow the fields of packet `kind`. Bulk could be 4 GiB; nothing we serve needs more than 1 MiB.
    pub(super) fn max_data(kind: u32) -> usize {
        match kind {
            0 => 64,
            23 => 4096,
            100 | 102 | 103 => u16::MAX as usize,
            101 => 1 << 20,
            _ => 0,
        }
    }
}

/// A packet: its id (0 for all but requests and their answers), fields, and what follows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Pairs an answer with its request.
    pub id: u64,
    /// The fixed fields.
    pub body: Body,
    /// Transferred bytes, capability words, or filter text.
    pub data: Vec<u8>,
}

impl Packet {
    /// A packet without data.
    pub fn new(id: u64, body: Body) -> Self {
        Self {
            id,
            body,
            data: Vec::new(),
        }
    }

    /// A hello; `version` is cut after 63 bytes.
    pub fn hello(version: &str, caps: Caps) -> Self {
        let mut field = [0; 64];
        for (to, from) in field.iter_mut().take(63).zip(version.bytes()) {
            *to = from;
        }
        Self {
            id: 0,
            body: Body::Hello { version: field },
            data: caps.0.to_le_bytes().into(),
        }
    }
}

/// How a request ended; numbers as in usbredirproto.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Done.
    Success = 0,
    /// Given up on the guest's wish.
    Cancelled = 1,
    /// No such endpoint, or a wrong length.
    Inval = 2,
    /// The device or the connection failed.
    IoError = 3,
    /// The device refused it.
    Stall = 4,
}
