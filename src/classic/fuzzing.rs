//! The texts of the classic dialect, both sides, for the room of the same name.

use super::assembly::{Assembly, Verdict};
use super::message::{NoRequest, Request, find, last_number, status};
use super::{ask, chunks, serve};

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What clients of all kinds say.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    texts(&[
        "#FILELIST\r\n",
        "#UPLOAD a.txt",
        "#UPLOAD a.txt bytes 120",
        "#UPLOAD é chunk 7 x  y\n",
        "#DOWNLOAD a.txt",
        "#DOWNLOAD a.txt chunk 0",
        "Transmission complete",
        "UPLOAD_COMPLETE",
    ])
}

/// A request: what it was understood as says the same, and its beginnings may become it.
pub(crate) fn request(bytes: &[u8]) {
    let parsed = Request::parse(bytes);
    let _ = serve::ripeness(bytes, 1, |_| None);
    let Ok(request) = parsed else { return };
    let written = match request {
        Request::List => b"#FILELIST".to_vec(),
        Request::Finished => b"Transmission complete".to_vec(),
        Request::Offer { name, length: None } => format!("#UPLOAD {name}").into_bytes(),
        Request::Offer { name, length: Some(length) } => {
            format!("#UPLOAD {name} bytes {length}").into_bytes()
        }
        Request::Data { name, index, data } => {
            [format!("#UPLOAD {name} chunk {index} ").as_bytes(), data].concat()
        }
        Request::Probe { name } => format!("#DOWNLOAD {name}").into_bytes(),
        Request::Read { name, index } => format!("#DOWNLOAD {name} chunk {index}").into_bytes(),
    };
    assert_eq!(Request::parse(&written), Ok(request), "{}", String::from_utf8_lossy(&written));
    for end in 0..written.len().min(60) {
        let beginning = written.get(..end).unwrap_or_default();
        assert_ne!(Request::parse(beginning), Err(NoRequest::Foreign), "{beginning:?}");
    }
}

/// What servers of all kinds say.
pub(crate) fn answers() -> Vec<Vec<u8>> {
    texts(&[
        "200 Files served: a b/c é",
        "Server (p2): 200 Files served: a",
        "250 Not serving file f",
        "330 Ready to send file f bytes 9",
        "200 File f chunk 7 the data",
        "Transmission complete",
    ])
}

/// An answer, read as each that can be awaited.
pub(crate) fn answer(bytes: &[u8]) {
    let _ = (status(bytes), last_number(bytes));
    if let Some(found) = find(bytes, "chunk") {
        assert_eq!(bytes.get(found), Some(&b"chunk"[..]));
    }
    if let Some(served) = ask::served(bytes) {
        assert!(served.names.len() as u64 + served.left_out <= bytes.len() as u64);
        assert!(served.names.iter().all(|name| !name.as_str().contains(char::is_whitespace)));
    }
    let Ok(name) = "f".parse() else { return };
    if let Some(data) = chunks::data_of(bytes, &name, 7) {
        assert!(bytes.ends_with(data));
        let due = data.len().min(100);
        let _ = chunks::ripeness(data, due);
    }
}

/// A file of 250 bytes in order, backwards, twice, and in base64.
pub(crate) fn uploads() -> Vec<Vec<u8>> {
    let chunk = |index: u8, len: u8| [&[index, len][..], &vec![b'a' + index; len.into()]].concat();
    let of =
        |length: u16, chunks: &[Vec<u8>]| [&length.to_be_bytes()[..], &chunks.concat()].concat();
    let three = [chunk(0, 100), chunk(1, 100), chunk(2, 50)];
    let [one, two, last] = three.clone();
    let base64 = [&[0, 136][..], "YWFh".repeat(34).as_bytes()].concat();
    vec![
        of(250, &three),
        of(250, &[last.clone(), two.clone(), one.clone()]),
        of(250, &[one.clone(), one, two, last]),
        of(0xffff, &three),
        of(102, &[base64]),
    ]
}

/// The length that was announced (0xffff: none), then chunks: number, length, bytes.
pub(crate) fn upload(bytes: &[u8]) {
    let Some((length, mut rest)) = bytes.split_first_chunk() else { return };
    let length = Some(u64::from(u16::from_be_bytes(*length))).filter(|length| *length != 0xffff);
    let (mut assembly, mut came) = (Assembly::new(length), 0);
    while let Some(([index, len], after)) = rest.split_first_chunk() {
        let (data, after) = after.split_at(usize::from(*len).min(after.len()));
        // Numbers near both ends of what there is.
        let index =
            if *index >= 0xf0 { u32::MAX - u32::from(index & 15) } else { u32::from(*index) };
        let _ = (assembly.ripeness(index, data), assembly.ripeness_alone(index, data));
        let (data, _) = assembly.read_alone(index, data);
        let next = assembly.next();
        if let Some(ready) = assembly.take(index, &data) {
            came += ready.len() as u64;
            assert!(assembly.next() >= next, "it goes backwards");
            assert!(assembly.next() > next || ready.is_empty(), "bytes without a chunk");
        }
        rest = after;
    }
    let _ = (assembly.is_complete(), assembly.is_complete_alone());
    if let (Some(length), Verdict::Whole) = (length, assembly.verdict()) {
        assert!(length <= came, "{came} bytes are taken for {length}");
    }
}
