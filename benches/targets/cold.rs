//! `ncred` from the start of its process to its end, beside other programs that read a secret, and beside `sqlite3` on
//! the same file.

mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nebula_credential_benches::{Bench, Result, fixture, main as bench, note, repeat};
use peers::{Answer, Program, bao, command, find, gopass, output, sops};

/// Credentials in the store.
const COUNT: usize = 10_000;
/// The one that is read.
const PICK: usize = COUNT / 2;
/// How all their names begin.
const NAMES: &str = "service/";
const PASSPHRASE: &str = "correct horse battery staple";
/// How many times a bare process of `sqlite3` one of `ncred` may take.
const SQLITE_LIMIT: f64 = 3.0;

fn main() -> ExitCode {
    bench("cold", |bench| {
        let home = fixture::directory(env!("CARGO_TARGET_TMPDIR"))?;
        let place = Place::fill(home.path())?;
        get(bench, &place)?;
        unlock(bench, &place)?;
        list(bench, &place)
    })
}

/// One secret out of 10,000; the peers hold no other.
fn get(bench: &mut Bench, place: &Place) -> Result<()> {
    let payload = format!(
        "SELECT hex(payload) FROM record r JOIN version v ON v.id = r.id << 32 | r.latest \
         WHERE (tenant, scope, name) = ('default', 'global', '{}')",
        name(PICK)
    );
    let peers = [
        (
            SQLITE_LIMIT,
            place.sqlite("one row", &[&payload], Answer::Repeats("\n", 1)),
        ),
        (1.0, bao(&place.home, &place.secret, &random_text()?)),
        (1.0, gopass(&place.home, &place.secret)),
        (1.0, sops(&place.home, &place.secret)),
    ];
    let ours = place.get("`ncred get`, key file", &["--key-file", "key"]);
    race(bench, "one secret, in a process of its own", ours, peers)
}

/// What it takes to start, and to unlock the key ring with a passphrase.
fn unlock(bench: &mut Bench, place: &Place) -> Result<()> {
    let mut race = bench.race("`ncred get`, by what unlocks it");
    race.scale_rounds(0.5);
    let types = Answer::Repeats("secret_text", 1);
    let lanes = [
        Program::new(
            "`ncred types`, which opens no store",
            place.ncred(&["types"]),
            types,
        ),
        place.get("`ncred get`, key file", &["--key-file", "key"]),
        place.get("`ncred get`, passphrase", &["--passphrase-file", "passphrase"]),
    ]
    .map(|mut program| race.lane(program.name.clone(), repeat(move || program.call())));
    let [types, key_file, passphrase] = lanes;
    race.compare(key_file, types);
    race.compare(passphrase, key_file);
    race.run()
}

fn list(bench: &mut Bench, place: &Place) -> Result<()> {
    let rows = |columns: &str| {
        format!(
            "SELECT {columns} FROM record WHERE tenant = 'default' AND scope = 'global' AND deleted_at IS NULL \
             ORDER BY name"
        )
    };
    // What the table shows, and what the JSON says.
    let table = rows("name, type, latest, phase, expires_at, tags");
    let whole = rows(
        "tenant, scope, name, type, latest, phase, created_at, updated_at, expires_at, deleted_at, tags",
    );
    for (title, ours, columns, arguments) in [
        ("a table", &["list"][..], &table, &[][..]),
        ("JSON", &["list", "--json"], &whole, &["-json"]),
    ] {
        let answer = || Answer::Repeats(NAMES, COUNT);
        let arguments = [arguments, &[columns.as_str()]].concat();
        let peer = place.sqlite("the same columns", &arguments, answer());
        let ours = Program::new(format!("`ncred {}`", ours.join(" ")), place.ncred(ours), answer());
        race(
            bench,
            &format!("{COUNT} credentials as {title}, in a process of its own"),
            ours,
            [(SQLITE_LIMIT, peer)],
        )?;
    }
    Ok(())
}

/// Measures `ours` beside the peers that are there, each with how many times it `ours` may take. One that is missing is
/// a target that is missed.
fn race<const N: usize>(
    bench: &mut Bench,
    title: &str,
    mut ours: Program,
    peers: [(f64, Result<Program>); N],
) -> Result<()> {
    let mut present = Vec::new();
    for (limit, peer) in peers {
        match peer {
            Ok(peer) => present.push((limit, peer)),
            Err(error) => note(&format!("Not measured: {error}.")),
        }
    }
    let count = format!("{title}: all {N} peers measured");
    if present.len() < N {
        bench.require(&count, false);
    }
    let mut race = bench.race(title);
    let us = race.lane(ours.name.clone(), repeat(move || ours.call()));
    for (limit, mut peer) in present {
        let them = race.lane(peer.name.clone(), repeat(move || peer.call()));
        race.at_most(limit, us, them);
    }
    race.run()
}

/// A store that a key file opens and a passphrase, and a copy of the program: no build in between changes it.
struct Place {
    home: PathBuf,
    program: PathBuf,
    secret: String,
}

impl Place {
    fn fill(home: &Path) -> Result<Self> {
        let built = std::env::var_os("NEBULA_BENCH_NCRED")
            .ok_or("this one measures programs, which `cargo xtask bench cold` builds and brings")?;
        let place = Self {
            home: home.to_owned(),
            program: home.join("ncred"),
            secret: random_text()?,
        };
        fs::copy(built, &place.program)?;
        let call = |arguments: &[&str]| {
            let arguments = [&["--key-file", "key"], arguments].concat();
            output(&mut place.ncred(&arguments))
        };
        call(&["init"])?;
        let texts = (0..COUNT).map(|number| {
            let text = if number == PICK {
                &*place.secret
            } else {
                "of no interest"
            };
            format!("\"{}\":\"{text}\"", name(number))
        });
        let texts: Vec<String> = texts.collect();
        place.write("plain.json", &format!("{{{}}}", texts.join(",")))?;
        call(&["import", "plain.json"])?;
        place.write("passphrase", PASSPHRASE)?;
        call(&["key", "add", "--new-passphrase-file", "passphrase"])?;
        Ok(place)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.home.join(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
    }

    fn ncred(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.program, &self.home);
        command.args(["--store", "store"]).args(arguments);
        command
    }

    fn get(&self, name_of_lane: &str, unlock: &[&str]) -> Program {
        let mut command = self.ncred(unlock);
        command.args(["get", &name(PICK), "--field", "text", "--reveal"]);
        Program::new(name_of_lane, command, Answer::Is(self.secret.clone()))
    }

    /// `sqlite3`, on the file of the store.
    fn sqlite(&self, what: &str, arguments: &[&str], answer: Answer) -> Result<Program> {
        let mut command = command(&find("sqlite3")?, &self.home);
        let (statement, options) = arguments.split_last().ok_or("sqlite3 is told nothing")?;
        command.args(options).arg("store/store.db").arg(statement);
        Ok(Program::new(format!("`sqlite3`, {what}"), command, answer))
    }
}

fn name(number: usize) -> String {
    format!("{NAMES}{number:05}/token")
}

fn random_text() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}
