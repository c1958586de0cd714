//! Plays a recording, an asciicast v2, in this terminal. What was recorded reaches it as it was: colours, a full screen, the cursor.
//! Therefore the terminal is put right when it ends, whoever ends it, and what it answers is not typed into a shell.
//! <https://docs.asciinema.org/manual/asciicast/v2/>

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::terminal;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Because, Failure};
use crate::kubectl::{Refused, Stream};
use crate::print;
use crate::signals::Signals;
use crate::text::counted;

/// The longest line of a recording, in bytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// How many events are read ahead of a slow screen.
const AHEAD: usize = 1024;

/// A terminal that stood still for longer, or a slow one, does not get all that is late at once.
const CATCH_UP: Duration = Duration::from_millis(500);

/// How long a terminal may take to answer what it was asked last.
const ANSWERS: Duration = Duration::from_millis(100);

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// Leaves the terminal as a shell expects it: out of the alternate screen, the whole screen scrolls, cursor keys and keypad, mouse and
/// focus not told, pasted text as it comes, letters and no line drawing, long lines wrap, the cursor is seen, no colours.
const RESET: &str = "\x1b7\x1b[?1049l\x1b7\x1b[r\x1b8\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\
                     \x1b[?2026l\x1b(B\x0f\x1b[?7h\x1b[?25h\x1b[0m";

/// What a recording shows, and when.
#[derive(Debug, PartialEq)]
struct Output {
    time: f64,
    text: String,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
    width: u16,
    height: u16,
}

/// Plays to the end, or until somebody ends it, which is no failure.
pub(super) fn play(cast: Stream, speed: f64, idle: f64) -> Result<(), Failure> {
    let (stop, stopped) = mpsc::channel();
    end_on_signals(stop.clone());
    let (show, shown) = mpsc::sync_channel(AHEAD);
    // Read by another, so that a slow screen does not keep the gateway waiting at once, nor a slow gateway the keyboard.
    thread::spawn(move || read_all(cast, &show));
    let mut keyboard: Option<Keyboard> = None;
    let outcome = show_all(&shown, &stopped, speed, idle, || keyboard = Some(Keyboard::take(stop)));
    if keyboard.is_some() {
        let _ = print::text(RESET);
    }
    drop(keyboard);
    outcome
}

/// Shows what comes in its time.
fn show_all(
    shown: &Receiver<Result<Output, Failure>>,
    stopped: &Receiver<()>,
    speed: f64,
    idle: f64,
    begin: impl FnOnce(),
) -> Result<(), Failure> {
    let mut begin = Some(begin);
    let (mut due, mut last) = (Instant::now(), 0.0_f64);
    while let Ok(next) = shown.recv() {
        let Output { time, text } = next?;
        if let Some(begin) = begin.take() {
            begin();
            due = Instant::now();
        }
        let gap = (time - last).clamp(0.0, idle) / speed;
        last = time;
        let late = Instant::now().checked_sub(CATCH_UP).unwrap_or(due);
        due = (due + Duration::try_from_secs_f64(gap).unwrap_or(CATCH_UP)).max(late);
        match stopped.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        print::text(text)?;
    }
    Ok(())
}

/// Saves the cast as it comes, for asciinema and other players. Leaves no half of one.
pub(super) fn save(mut cast: Stream, file: &Path) -> Result<(), Failure> {
    let shown = file.display();
    // What was on the screen may be a secret: nobody else may read the file.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut output = options.open(file).map_err(|error| {
        let is_there = error.kind() == io::ErrorKind::AlreadyExists;
        let remedy = if is_there { ": name another file, or remove this one" } else { "" };
        Failure::new(format!("{shown}: {error}{remedy}"))
    })?;
    let copied = io::copy(&mut cast, &mut output).because(&shown);
    match copied.and_then(|size| cast.end().map(|()| size).map_err(Failure::from)) {
        Ok(size) => print::line(format_args!("Saved {}: asciinema play {shown}", counted(size, "byte"))),
        Err(failure) => {
            let _ = fs::remove_file(file);
            Err(failure)
        }
    }
}

fn read_all(mut cast: Stream, show: &SyncSender<Result<Output, Failure>>) {
    let read = events(&mut BufReader::new(&mut cast), &mut |output| show.send(Ok(output)).is_ok());
    let ended = match read {
        // Whoever ended it does not want to know what becomes of kubectl.
        Ok(false) => return,
        Ok(true) => cast.end().map_err(
            |Refused { message, .. }| {
                if message.is_empty() { Failure::said(1) } else { Failure::new(message) }
            },
        ),
        // What kubectl says of it is the cause.
        Err(failure) => Err(cast.end().err().map_or(failure, Failure::from)),
    };
    if let Err(failure) = ended {
        let _ = show.send(Err(failure));
    }
}

/// The cast's output: "o". A resize, "e" (which characters were of stderr), input and markers show nothing. False when nobody wants
/// more.
fn events(cast: &mut impl BufRead, show: &mut dyn FnMut(Output) -> bool) -> Result<bool, Failure> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let size = cast.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).because("the recording")?;
        if size == 0 {
            return if number == 0 { Err(Failure::new("the recording is empty")) } else { Ok(true) };
        }
        if size as u64 == MAX_LINE_BYTES {
            return Err(Failure::new(format!(
                "a line of the recording has more than {}",
                counted(MAX_LINE_BYTES, "byte")
            )));
        }
        number += 1;
        let is_whole = line.last() == Some(&b'\n');
        if number == 1 {
            let header = serde_json::from_slice::<Header>(&line).ok().filter(|header| header.version == 2);
            let header =
                header.ok_or_else(|| Failure::new("what came is no recording: an asciicast v2 was expected"))?;
            warn_of_size(&header);
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<(f64, String, Value)>(&line) {
            Ok((time, kind, Value::String(text))) if kind == "o" => {
                if !show(Output { time, text }) {
                    return Ok(false);
                }
            }
            Ok(_) => {}
            // A session that was cut off, or is still live.
            Err(_) if !is_whole => return Ok(true),
            Err(_) => {
                let advice = "`kubectl access sessions verify` tells whether it was edited";
                return Err(Failure::new(format!("line {number} of the recording is no event: {advice}")));
            }
        }
    }
}

fn warn_of_size(header: &Header) {
    let Header { width, height, .. } = *header;
    if let Some((columns, rows)) = terminal::size().ok().filter(|_| io::stdout().is_terminal())
        && (width > columns || height > rows)
        && columns > 0
    {
        let size = format_args!("Recorded in {width}x{height}; this terminal has {columns}x{rows}");
        print::note(format_args!("{size}, and shows some of it elsewhere."));
    }
}

fn end_on_signals(stop: Sender<()>) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if let Ok(mut signals) = Signals::listen() {
                signals.next().await;
                let _ = stop.send(());
            } else {
                std::future::pending::<()>().await;
            }
        });
    });
}

/// What a recording asks the terminal, such as where the cursor is, the terminal answers as if it were typed. Nobody may have a shell
/// run that: while a cast plays, all that comes from the keyboard is dropped, but Ctrl-C.
#[derive(Debug)]
struct Keyboard {
    is_taken: bool,
}

impl Keyboard {
    fn take(stop: Sender<()>) -> Self {
        let is_taken = io::stdin().is_terminal() && terminal::enable_raw_mode().is_ok();
        if is_taken {
            thread::spawn(move || {
                let mut typed = [0; 256];
                while let Ok(count @ 1..) = io::stdin().read(&mut typed) {
                    if typed.get(..count).is_some_and(|typed| typed.contains(&INTERRUPT)) {
                        let _ = stop.send(());
                    }
                }
            });
        }
        Self { is_taken }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if self.is_taken {
            thread::sleep(ANSWERS);
            let _ = terminal::disable_raw_mode();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cast: &str) -> Result<String, String> {
        let mut shown = String::new();
        let mut show = |output: Output| {
            shown.extend([output.time.to_string(), format!(":{} ", output.text)]);
            true
        };
        events(&mut cast.as_bytes(), &mut show).map_err(|failure| failure.to_string())?;
        Ok(shown)
    }

    #[test]
    fn what_was_shown_is_shown_and_nothing_else() {
        let header = "{\"version\": 2, \"width\": 80, \"height\": 24, \"env\": {}}\n";
        let cast = format!(
            "{header}[0.5, \"o\", \"a\"]\n[1, \"e\", \"1\"]\n[1, \"i\", \"typed\"]\n[2, \"r\", \"80x25\"]\n[3, \"o\", \"b\"]\n[4, \"o\", \"cut"
        );
        assert_eq!(read(&cast).unwrap(), "0.5:a 3:b ");
        assert!(read("").unwrap_err().contains("empty"));
        assert!(read("{\"version\": 1}\n").unwrap_err().contains("asciicast v2"));
        assert!(read(&format!("{header}nonsense\n")).unwrap_err().contains("line 2"));
    }

    #[test]
    fn waits_are_cut_short_and_whoever_ends_it_ends_it() {
        let (show, shown) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        for time in [0.0, 1000.0, 2000.0] {
            show.send(Ok(Output { time, text: String::new() })).unwrap();
        }
        drop(show);
        let begun = Instant::now();
        show_all(&shown, &stopped, 10.0, 0.2, || {}).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2));
        let (show, shown) = mpsc::channel();
        show.send(Ok(Output { time: 1e9, text: String::new() })).unwrap();
        stop.send(()).unwrap();
        show_all(&shown, &stopped, 1.0, 1e9, || {}).unwrap();
    }
}
