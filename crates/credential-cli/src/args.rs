//! The command line: global options, verbs and their own options.
//!
//! No option takes a secret. What an option takes is parsed here, and a refusal never repeats what was given.

pub(crate) mod parse;

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use nebula_credential::audit::Names;
use nebula_credential::{CredentialName, Principal, Scope, TenantId, Version};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Environment (each is overridden by its option):
  NCRED_STORE            the directory of the store
  NCRED_TENANT           whose credentials
  NCRED_SCOPE            which part of the tenant
  NCRED_KEY_FILE         a key file that unlocks the key ring
  NCRED_PASSPHRASE_FILE  a file that holds the passphrase
  NCRED_PRINCIPAL        who asks, for the audit log and policies
  NCRED_PURPOSE          what for
  NCRED_AUDIT_LOG        the file of the audit log
  NCRED_AUDIT_NAMES      how it names credentials: clear or tagged
  NCRED_POLICY           the file of the access policy
  NCRED_CONFIG           the configuration file
  NCRED_PROFILE          the profile of the configuration file
  NO_COLOR               no colours
  RUST_LOG               what to log, such as debug; values never are

Exit codes:
  0 ok            3 not found       6 tampered or damaged
  1 other error   4 denied          7 conflict
  2 usage         5 cannot unlock   8 unavailable
  `run` ends with the exit code of its command; 126 cannot be run, 127 no such command.

Secrets are read from standard input, from a prompt, or from files; never from arguments.";

/// Store, read, rotate and roll back credentials.
#[derive(Debug, Parser)]
#[command(
    name = "ncred",
    version,
    styles = STYLES,
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options every command takes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The directory of the store
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) store: Option<PathBuf>,
    /// Whose credentials [default: default]
    #[arg(long, global = true, value_name = "NAME", value_parser = parse::tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// Which part of the tenant [default: global]
    #[arg(long, global = true, value_name = "NAME", value_parser = parse::scope)]
    pub(crate) scope: Option<Scope>,
    /// A key file that unlocks the key ring
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,
    /// A file of mode 0600 that holds the passphrase
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A file descriptor whose first line is the passphrase
    #[arg(long, global = true, value_name = "N", value_parser = parse::descriptor,
          conflicts_with_all = ["passphrase_file", "ask_passphrase"])]
    pub(crate) passphrase_fd: Option<u32>,
    /// Ask for the passphrase at the terminal
    #[arg(long, global = true, conflicts_with = "passphrase_file")]
    pub(crate) ask_passphrase: bool,
    /// Who asks: user:NAME, service:NAME, workflow:NAME, action:NAME or process [default: process]
    #[arg(long, global = true, value_name = "WHO", value_parser = parse::principal)]
    pub(crate) principal: Option<Principal>,
    /// What for; recorded in the audit log, and a policy may ask for it
    #[arg(long, global = true, value_name = "TEXT", value_parser = parse::purpose)]
    pub(crate) purpose: Option<String>,
    /// Record in this audit log who does what; what cannot be recorded is not done
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) audit_log: Option<PathBuf>,
    /// How it names credentials: `clear` by name, `tagged` by a keyed hash [default: as it was begun; a new one by name]
    #[arg(long, global = true, value_name = "HOW", value_parser = parse::audit_names)]
    pub(crate) audit_names: Option<Names>,
    /// Do only what this access policy allows
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// Print JSON, also for errors
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The profile of the configuration file
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a store and its key ring
    Init,
    /// Store a credential: a JSON object on standard input, or prompts at a terminal
    #[command(visible_alias = "set")]
    Put(Put),
    /// Show a credential; its secrets only with --reveal
    #[command(visible_alias = "show")]
    Get(Get),
    /// List credentials
    #[command(visible_alias = "ls")]
    List(List),
    /// List the kept versions of a credential
    #[command(visible_alias = "history")]
    Versions(Named),
    /// Replace the value of a credential; the old version is kept
    Rotate(Rotate),
    /// Make an earlier version current again, as a new version
    Rollback(Rollback),
    /// Replace the tags of a credential
    Tags(Tags),
    /// Delete a credential; `restore` undoes it
    #[command(visible_alias = "rm")]
    Delete(Named),
    /// Undo a deletion
    #[command(visible_alias = "undelete")]
    Restore(Named),
    /// Withdraw a credential for good: no version of it is handed out again
    Revoke(Revoke),
    /// Destroy every version of a credential, for good
    Purge(Purge),
    /// Seal credentials in a bundle for another key; `import` stores them elsewhere
    Export(crate::verbs::export::Export),
    /// Store the credentials of a .env, JSON or YAML file, or of a bundle
    Import(crate::verbs::import::Import),
    /// Change a credential in an editor, through a private file that is wiped
    Edit(crate::verbs::edit::Edit),
    /// Run a command with secrets in its environment, and nowhere else
    Run(crate::verbs::run::Run),
    /// The key ring: what opens it, and its keys
    #[command(subcommand)]
    Key(Key),
    /// The audit log: who did what with which credential
    #[command(subcommand)]
    Audit(crate::verbs::audit::Audit),
    /// The access policy: whether it is well formed, what it decides, and why
    #[command(subcommand)]
    Policy(crate::verbs::policy::Policy),
    /// Share a credential with another principal, or end that
    Share(crate::verbs::share::Share),
    /// Show who owns a credential, and whom it is shared with
    Sharing(Named),
    /// What the store holds, at a glance
    Stats,
    /// Look for everything that is wrong or soon will be, and name the remedy
    Doctor,
    /// The known credential types and their fields
    Types(Types),
    /// Print shell completions
    Completions(Completions),
    /// Print the manual page, or write all of them to a directory
    Man(Man),
}

/// A verb that takes a name and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred put db --type postgres < db.json\n  \
    ncred put github --type basic --tag team=web     # asks for each field\n  \
    ncred put token --type bearer --expires-at 2030-12-31T23:59:59Z < token.json\n\n\
    `ncred types TYPE` shows the fields of a type.")]
pub(crate) struct Put {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// Its type; `ncred types` shows them
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub(crate) credential_type: String,
    /// Only if there is no such credential
    #[arg(long, conflicts_with = "if_version")]
    pub(crate) if_absent: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// What holds for every new version.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// Only if this version is the current one
    #[arg(long, value_name = "N", value_parser = parse::version)]
    pub(crate) if_version: Option<Version>,
    /// When it ceases to work, as in 2030-12-31T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// File it under KEY=VALUE; may be repeated. Tags are not encrypted
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse::tag)]
    pub(crate) tags: Vec<(String, String)>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred get db                                # secrets are left out\n  \
    ncred get db --field password --reveal      # the bare value\n  \
    ncred get db --version 3 --reveal --json")]
pub(crate) struct Get {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// This version instead of the current one
    #[arg(long, value_name = "N", value_parser = parse::version)]
    pub(crate) version: Option<Version>,
    /// Only this field, a secret one with --reveal; MAP.KEY for an entry of a map
    #[arg(long, short, value_name = "FIELD")]
    pub(crate) field: Option<String>,
    /// Show the secrets
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Show the secrets of an expired or revoked credential too
    #[arg(long, requires = "reveal")]
    pub(crate) allow_expired: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred list --tag team=web --prefix prod/\n  \
    ncred list --expiring 30d --json")]
pub(crate) struct List {
    /// Only those filed under KEY=VALUE; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse::tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// Only names that begin like this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Only those that have expired or will within this time, such as 30d, 12h or 90m
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) expiring: Option<TimeDelta>,
    /// The deleted ones too
    #[arg(long)]
    pub(crate) deleted: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred rotate db < db.json\n  \
    echo \"$NEW\" | ncred rotate db --field password     # the other fields stay\n  \
    ncred rotate db --generate --length 48\n  \
    ncred rotate db --generate --field password --if-version 7")]
pub(crate) struct Rotate {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// Make a random secret instead of reading a value; the other fields stay
    #[arg(long)]
    pub(crate) generate: bool,
    /// How many characters to make
    #[arg(long, value_name = "N", requires = "generate", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(16..=1024))]
    pub(crate) length: u16,
    /// Only this field: its bare text is read instead of JSON, or made with --generate; the other fields stay
    #[arg(long, short, value_name = "FIELD")]
    pub(crate) field: Option<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// The version to go back to; by default the one before the current one
    #[arg(long, value_name = "N", value_parser = parse::version)]
    pub(crate) to: Option<Version>,
}

#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// The tags it has afterwards, all of them
    #[arg(value_name = "KEY=VALUE", value_parser = parse::tag, required_unless_present = "clear")]
    pub(crate) tags: Vec<(String, String)>,
    /// Remove all tags
    #[arg(long, conflicts_with = "tags")]
    pub(crate) clear: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What was revoked stays so, also through `delete` and `restore`, and nothing can be stored over it: `ncred delete` it first to \
use its name anew. Whoever issued the secret knows nothing of this: revoke it there, too.")]
pub(crate) struct Revoke {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    pub(crate) name: CredentialName,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Show the key ring: its slots and keys
    Status,
    /// List the slots: what opens the key ring
    List,
    /// Add a slot: another key file or passphrase that opens the key ring
    Add(KeyAdd),
    /// Remove a slot
    Remove(KeyRemove),
    /// Start a new key; follow it with `rewrap`
    Rotate,
    /// Wrap every credential under the newest key; may be interrupted and run again
    Rewrap(KeyRewrap),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct KeyAdd {
    /// A key file; it is made if it does not exist
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) new_key_file: Option<PathBuf>,
    /// A file of mode 0600 that holds the new passphrase
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// A file descriptor whose first line is the new passphrase
    #[arg(long, value_name = "N", value_parser = parse::descriptor)]
    pub(crate) new_passphrase_fd: Option<u32>,
    /// Ask for the new passphrase at the terminal
    #[arg(long)]
    pub(crate) ask_new_passphrase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRemove {
    /// The number of the slot; `ncred key list` shows them
    #[arg(value_name = "SLOT")]
    pub(crate) slot: u8,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRewrap {
    /// Afterwards destroy the old keys that nothing needs any more
    #[arg(long)]
    pub(crate) destroy_unused: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// Only this type
    #[arg(value_name = "TYPE")]
    pub(crate) name: Option<String>,
    /// Print the JSON Schema of the value
    #[arg(long, requires = "name")]
    pub(crate) schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to write one page for each command
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
}
