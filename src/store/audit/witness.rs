//! Copies of the signed heads outside the database: a folder with three files that only grow.
//!
//! `heads` holds every head as a signed note, an empty line after each. `leaves` holds the hash of every event the last
//! of them covers, 32 bytes each, so that a check can name the very event that was altered. `erased` lists who was
//! erased, for a store that is restored from a backup. None of them holds anything personal.
//!
//! One process writes them at a time, under a lock. What a crash left half written is cut off when they are opened. From
//! a process that hangs and lost its right to write, the next one takes them over: it puts copies in their place, and
//! whatever the former one writes when it wakes goes into files that nobody finds any more.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::note::Head;
use super::tree::Hash;

/// The file of heads.
pub const HEADS: &str = "heads";
/// The file of hashes.
pub const LEAVES: &str = "leaves";
/// The file of the erased.
pub const ERASED: &str = "erased";
/// No note is longer.
const LONGEST: u64 = 16 << 10;

/// Somebody who was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Where in the log.
    pub position: i64,
    /// When, as RFC 3339.
    pub at: String,
    /// Whom.
    pub user: String,
}

/// The files of one folder, held for writing.
#[derive(Debug)]
pub struct Witness {
    folder: PathBuf,
    heads: File,
    leaves: File,
    erased: File,
    last: Option<Head>,
    last_erased: i64,
}

impl Witness {
    /// Opens the files for writing, or makes them. None: another process writes them.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        crate::private_folder(folder)?;
        let heads = file(folder, HEADS)?;
        match heads.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        Self::of(folder, heads).map(Some)
    }

    /// Takes the files over from a process that holds the lock and may not write any more. That must be certain from
    /// elsewhere, and that they are of the same store: what it would still write is lost.
    ///
    /// Hashes and the erased are copied after the heads and put in place after them, so at any moment they are as far as
    /// the heads in place, or further.
    pub fn take_over(folder: &Path) -> io::Result<Self> {
        let part = |name: &str| format!("{name}.{}", std::process::id());
        let copy = |name: &str| {
            let to = part(name);
            match std::fs::copy(folder.join(name), folder.join(&to)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let copied = file(folder, &to)?;
            copied.sync_all()?;
            Ok(copied)
        };
        let heads = copy(HEADS)?;
        heads.try_lock()?;
        copy(LEAVES)?;
        copy(ERASED)?;
        for name in [HEADS, LEAVES, ERASED] {
            std::fs::rename(folder.join(part(name)), folder.join(name))?;
        }
        File::open(folder)?.sync_all()?;
        Self::of(folder, heads)
    }

    /// The files below heads that are locked.
    fn of(folder: &Path, mut heads: File) -> io::Result<Self> {
        let last = last_head(&mut heads)?;
        let (mut leaves, mut erased) = (file(folder, LEAVES)?, file(folder, ERASED)?);
        let size = last.as_ref().map_or(0, |head| head.size);
        let there = leaves.metadata()?.len();
        if there < size * 32 {
            return Err(io::Error::other(format!(
                "{} is shorter than its heads say",
                folder.join(LEAVES).display()
            )));
        }
        leaves.set_len(size * 32)?;
        leaves.seek(SeekFrom::End(0))?;
        let last_erased = last_erasure(&mut erased)?;
        Ok(Self {
            folder: folder.to_owned(),
            heads,
            leaves,
            erased,
            last,
            last_erased,
        })
    }

    /// Whether what is written still goes where others find it.
    fn is_in_place(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        for (name, file) in [(HEADS, &self.heads), (LEAVES, &self.leaves), (ERASED, &self.erased)] {
            let (found, ours) = (std::fs::metadata(self.folder.join(name))?, file.metadata()?);
            if (found.dev(), found.ino()) != (ours.dev(), ours.ino()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the last head says. Its signature was not looked at.
    #[must_use]
    pub const fn last(&self) -> Option<&Head> {
        self.last.as_ref()
    }

    /// How many events are covered.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.last.as_ref().map_or(0, |head| head.size)
    }

    /// Adds the hashes of events, who of them was erased, and the heads that cover them; safe on the disk when it
    /// returns.
    pub fn append(&mut self, leaves: &[Hash], erased: &[Erasure], notes: &[String]) -> io::Result<()> {
        let Some(last) = notes.last() else { return Ok(()) };
        let head = text_of(last)
            .and_then(|text| Head::parse(text).ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a stored head is no head"))?;
        if !self.is_in_place()? {
            return Err(io::Error::other("the files are no longer the ones that were opened"));
        }
        self.leaves.write_all(leaves.as_flattened())?;
        self.leaves.sync_data()?;
        let mut list = String::new();
        for one in erased.iter().filter(|one| one.position > self.last_erased) {
            // Writing into a String cannot fail.
            let _ = std::fmt::Write::write_fmt(&mut list, format_args!("{} {} {}\n", one.position, one.at, one.user));
        }
        if !list.is_empty() {
            self.erased.write_all(list.as_bytes())?;
            self.erased.sync_data()?;
            self.last_erased = erased.last().map_or(self.last_erased, |one| one.position);
        }
        let text: String = notes.iter().flat_map(|note| [note.as_str(), "\n"]).collect();
        self.heads.write_all(text.as_bytes())?;
        self.heads.sync_data()?;
        self.last = Some(head);
        Ok(())
    }
}

/// A file of the folder, made if there is none.
fn file(folder: &Path, name: &str) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(name))
}

/// What the last head of a folder says, whoever writes there. Its signature is not looked at.
pub fn peek(folder: &Path) -> io::Result<Option<Head>> {
    match File::open(folder.join(HEADS)) {
        Ok(mut file) => Ok(find_last_head(&mut file)?.0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The signed text of a note, unverified.
fn text_of(note: &str) -> Option<&str> {
    let (text, _) = note.split_once("\n\n")?;
    note.get(..=text.len())
}

/// Finds the last whole head and cuts off what follows it.
fn last_head(file: &mut File) -> io::Result<Option<Head>> {
    let (head, end) = find_last_head(file)?;
    file.set_len(end)?;
    file.seek(SeekFrom::End(0))?;
    Ok(head)
}

/// The last whole head, and where it ends.
fn find_last_head(file: &mut File) -> io::Result<(Option<Head>, u64)> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(4 * LONGEST);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(4 * LONGEST).read_to_end(&mut end)?;
    // A note ends with a line's end, and so does the empty line behind it; the text and its signatures part the same
    // way, so a whole note is one whose last part is of signatures.
    let mut whole = end.len();
    let head = loop {
        let Some(close) = find_last(&end[..whole], b"\n\n") else {
            if start > 0 || whole > 0 && length > 4 * LONGEST {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file of heads holds no head",
                ));
            }
            whole = 0;
            break None;
        };
        let before = &end[..close];
        let signatures = find_last(before, b"\n\n").map_or(0, |at| at + 2);
        if before[signatures..].starts_with("\u{2014} ".as_bytes()) {
            let text_start = find_last(&before[..signatures.saturating_sub(2)], b"\n\n").map_or(0, |at| at + 2);
            let text = std::str::from_utf8(&before[text_start..signatures.saturating_sub(1)]).unwrap_or_default();
            let head = Head::parse(text)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("the last head {error}")))?;
            whole = close + 2;
            break Some(head);
        }
        whole = close + 1;
    };
    Ok((head, start + whole as u64))
}

fn find_last(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

/// The position in the last whole line; what follows it is cut off.
fn last_erasure(file: &mut File) -> io::Result<i64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LONGEST);
    file.seek(SeekFrom::Start(start))?;
    let mut end = String::new();
    file.take(LONGEST).read_to_string(&mut end)?;
    let whole = end.rfind('\n').map_or(0, |at| at + 1);
    file.set_len(start + whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    let last = end[..whole].lines().next_back().and_then(|line| line.split(' ').next());
    Ok(last.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// The heads of a folder, one after the other.
#[derive(Debug)]
pub struct HeadFile {
    reader: BufReader<File>,
}

impl HeadFile {
    /// Opens the file; none if there is none.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        match File::open(folder.join(HEADS)) {
            Ok(file) => Ok(Some(Self {
                reader: BufReader::new(file),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next note, whole. What a crash left half written at the end is passed over.
    pub fn next_note(&mut self) -> io::Result<Option<String>> {
        let (mut note, mut signed) = (Vec::new(), false);
        loop {
            let before = note.len();
            (&mut self.reader).take(LONGEST).read_until(b'\n', &mut note)?;
            let line = &note[before..];
            if !line.ends_with(b"\n") {
                // The end of the file, or a line longer than any note has.
                return if line.len() as u64 >= LONGEST {
                    Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of heads"))
                } else {
                    Ok(None)
                };
            }
            if line == b"\n" && signed {
                note.truncate(before);
                let note = String::from_utf8(note);
                return note.map(Some).map_err(|_| io::ErrorKind::InvalidData.into());
            }
            signed |= line.starts_with("\u{2014} ".as_bytes());
            if note.len() as u64 > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of heads"));
            }
        }
    }
}

/// The hashes of a folder, one after the other.
#[derive(Debug)]
pub struct LeafFile {
    reader: BufReader<File>,
}

impl LeafFile {
    /// Opens the file; none if there is none.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        match File::open(folder.join(LEAVES)) {
            Ok(file) => Ok(Some(Self {
                reader: BufReader::with_capacity(64 << 10, file),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The hash of the next event.
    pub fn next_leaf(&mut self) -> io::Result<Option<Hash>> {
        let mut hash = [0; 32];
        match self.reader.read_exact(&mut hash) {
            Ok(()) => Ok(Some(hash)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    fn note(size: u64) -> String {
        let head = Head {
            origin: "log.example".into(),
            size,
            root: [u8::try_from(size).unwrap(); 32],
        };
        format!("{}\n\u{2014} log.example AAAAAA==\n", head.text())
    }

    fn erasure(position: i64) -> Erasure {
        Erasure {
            position,
            at: "2026-11-21T00:00:00.000000Z".into(),
            user: format!("user-{position}"),
        }
    }

    fn read(folder: &Path) -> (Vec<String>, usize, String) {
        let mut heads = HeadFile::open(folder).unwrap().unwrap();
        let notes = std::iter::from_fn(|| heads.next_note().unwrap()).collect();
        let mut leaves = LeafFile::open(folder).unwrap().unwrap();
        let count = std::iter::from_fn(|| leaves.next_leaf().unwrap()).count();
        (notes, count, std::fs::read_to_string(folder.join(ERASED)).unwrap())
    }

    #[test]
    fn what_was_half_written_is_cut_off_wherever_a_crash_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut witness = Witness::open(path).unwrap().unwrap();
        assert!(witness.last().is_none());
        assert!(Witness::open(path).unwrap().is_none(), "it is held");
        witness.append(&[], &[], &[note(0)]).unwrap();
        witness
            .append(&[[1; 32], [2; 32]], &[erasure(2)], &[note(1), note(2)])
            .unwrap();
        drop(witness);
        let before = read(path);
        assert_eq!((before.0.clone(), before.1), (vec![note(0), note(1), note(2)], 2));
        let whole = std::fs::read(path.join(HEADS)).unwrap();
        let third = format!("{}\n", note(3)).into_bytes();
        for part in 0..third.len() {
            std::fs::write(path.join(HEADS), [whole.as_slice(), &third[..part]].concat()).unwrap();
            std::fs::write(path.join(LEAVES), [[1_u8; 32], [2; 32], [3; 32]].as_flattened()).unwrap();
            std::fs::write(path.join(ERASED), format!("{}3 2026", before.2)).unwrap();
            assert_eq!(read(path).0.len(), 3, "{part}");
            let mut witness = Witness::open(path).unwrap().unwrap();
            assert_eq!(witness.size(), 2, "{part}");
            assert_eq!(read(path), before, "{part}");
            witness
                .append(&[[3; 32]], &[erasure(2), erasure(3)], &[note(3)])
                .unwrap();
            drop(witness);
            let after = read(path);
            assert_eq!((after.0.len(), after.1, after.2.lines().count()), (4, 3, 2), "{part}");
        }
    }

    #[test]
    fn files_that_were_taken_over_hear_no_more_of_their_former_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut former = Witness::open(path).unwrap().unwrap();
        former.append(&[[1; 32]], &[erasure(1)], &[note(1)]).unwrap();
        let mut half = former.heads.try_clone().unwrap();
        let mut hashes = former.leaves.try_clone().unwrap();
        assert_eq!(peek(path).unwrap().map(|head| head.size), Some(1));
        let mut next = Witness::take_over(path).unwrap();
        assert_eq!(next.size(), 1);
        assert!(Witness::open(path).unwrap().is_none(), "it is held");
        next.append(&[[2; 32]], &[erasure(1), erasure(2)], &[note(2)]).unwrap();
        let after = read(path);
        assert_eq!((after.0.len(), after.1, after.2.lines().count()), (2, 2, 2));
        // It wakes before it begins to write, or in the middle.
        former.append(&[[9; 32]], &[erasure(9)], &[note(9)]).unwrap_err();
        hashes.write_all(&[9; 32]).unwrap();
        half.write_all(format!("{}\n", note(9)).as_bytes()).unwrap();
        drop((former, half, hashes));
        assert!(Witness::open(path).unwrap().is_none(), "it is held");
        next.append(&[[3; 32]], &[], &[note(3)]).unwrap();
        drop(next);
        let after = read(path);
        assert_eq!((after.0, after.1), (vec![note(1), note(2), note(3)], 3));
        let names = std::fs::read_dir(path).unwrap().count();
        assert_eq!(names, 3, "nothing is left over");
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(HEADS), vec![0; 1 << 20]).unwrap();
        assert!(Witness::open(folder.path()).is_err());
        assert!(HeadFile::open(folder.path()).unwrap().unwrap().next_note().is_err());
        std::fs::write(folder.path().join(HEADS), format!("{}\n", note(2))).unwrap();
        assert!(Witness::open(folder.path()).is_err(), "two hashes are missing");
    }
}
