//! An independent reader of pcapng, for captures of the gateway.

use std::io::Read;

/// A pcapng file, read from its bytes alone.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) packets: Vec<Packet>,
    begun: bool,
}

#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) link_type: u16,
    pub(crate) name: String,
    pub(crate) description: String,
}

#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) interface: usize,
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) comment: Option<String>,
}

impl File {
    /// All of it.
    pub(crate) fn read(mut bytes: &[u8]) -> Self {
        let mut file = Self::default();
        while !bytes.is_empty() {
            file.read_block(&mut bytes);
        }
        file
    }

    /// The next block of a file that may still be written.
    pub(crate) fn read_block(&mut self, source: &mut impl Read) {
        let mut bytes = vec![0; 8];
        source.read_exact(&mut bytes).unwrap();
        let (kind, length) = (word(&bytes, 0), word(&bytes, 4) as usize);
        bytes.resize(length, 0);
        source.read_exact(&mut bytes[8..]).unwrap();
        assert_eq!(length % 4, 0, "blocks are of whole words");
        assert_eq!(word(&bytes, length - 4) as usize, length, "a block says its length at both ends");
        assert_eq!(kind == 0x0A0D_0D0A, !self.begun, "one section header, at the front");
        self.begun = true;
        let body = &bytes[8..length - 4];
        match kind {
            0x0A0D_0D0A => {
                assert_eq!((word(body, 0), word(body, 4)), (0x1A2B_3C4D, 1), "byte order and version")
            }
            1 => {
                let options = options(&body[8..]);
                let text = |code| String::from_utf8(option(&options, code).unwrap()).unwrap();
                assert_eq!(option(&options, 9), Some(vec![9]), "times in nanoseconds");
                let link_type = u16::from_le_bytes([body[0], body[1]]);
                self.interfaces.push(Interface { link_type, name: text(2), description: text(3) });
            }
            6 => {
                let interface = word(body, 0) as usize;
                assert!(interface < self.interfaces.len(), "an interface is described before its packets");
                let length = word(body, 12) as usize;
                assert_eq!(word(body, 16) as usize, length, "nothing is cut");
                let options = options(&body[20 + length.next_multiple_of(4)..]);
                let comment = option(&options, 1).map(|text| String::from_utf8(text).unwrap());
                let at = u64::from(word(body, 4)) << 32 | u64::from(word(body, 8));
                self.packets.push(Packet { interface, at, data: body[20..20 + length].to_vec(), comment });
            }
            other => panic!("a block of kind {other}"),
        }
    }

    /// The packets of the interface with this name.
    pub(crate) fn of<'f>(&'f self, name: &str) -> Vec<&'f Packet> {
        let index = self.interfaces.iter().position(|interface| interface.name == name).unwrap();
        self.packets.iter().filter(|packet| packet.interface == index).collect()
    }
}

impl Packet {
    /// What is behind the tags of an exported PDU, and the values of its tags.
    pub(crate) fn exported(&self) -> (Vec<(u16, Vec<u8>)>, &[u8]) {
        let (mut tags, mut at) = (Vec::new(), 0);
        loop {
            let half = |at: usize| u16::from_be_bytes([self.data[at], self.data[at + 1]]);
            let (tag, length) = (half(at), usize::from(half(at + 2)));
            at += 4 + length;
            if tag == 0 {
                return (tags, &self.data[at..]);
            }
            tags.push((tag, self.data[at - length..at].to_vec()));
        }
    }
}

fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (code, length) =
            (u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]]));
        let length = usize::from(length);
        if code == 0 {
            assert_eq!(bytes.len(), 4, "nothing behind the end of the options");
        } else {
            found.push((code, bytes[4..4 + length].to_vec()));
        }
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
    found
}

fn option(options: &[(u16, Vec<u8>)], wanted: u16) -> Option<Vec<u8>> {
    options.iter().find(|(code, _)| *code == wanted).map(|(_, value)| value.clone())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
