//! Files to read: like those that people write, and like those that nobody would.

use std::fmt::Write as _;

/// SplitMix64 (Steele, Lea and Flood, 2014): the same file from the same seed, everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// `length` characters of `alphabet`.
    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| self.pick(&alphabet)).collect()
    }
}

/// Lines of the file that stands for the ones people have.
pub(crate) const LINES: usize = 2000;

const TOKEN: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SERVICES: &[&str] = &[
    "STRIPE", "SLACK", "GITHUB", "SENTRY", "TWILIO", "SMTP", "REDIS", "POSTGRES", "MONGO", "RABBITMQ", "S3",
    "GCP", "AZURE", "DATADOG", "OKTA", "KAFKA",
];
const PURPOSES: &[&str] = &[
    "API_KEY",
    "TOKEN",
    "PASSWORD",
    "SECRET",
    "URL",
    "PRIVATE_KEY",
    "DSN",
    "WEBHOOK",
    "CERT",
];

/// A file of [`LINES`] lines, every one of which is a comment, blank, or part of a binding with a key of its own.
pub(crate) fn realistic(seed: u64) -> String {
    let mut random = Random::new(seed);
    let mut file = String::from("# Production settings\n\n");
    let mut key = 0;
    loop {
        let left = LINES - file.matches('\n').count();
        let line = match left {
            0 => return file,
            // No value of several lines fits any more.
            1..=12 => "# end\n".to_owned(),
            _ => realistic_lines(&mut random, &mut key),
        };
        file.push_str(&line);
    }
}

fn realistic_lines(random: &mut Random, number: &mut usize) -> String {
    *number += 1;
    let key = format!("{}_{}_{number}", random.pick(SERVICES), random.pick(PURPOSES));
    let end = random.pick(&["\n", "\n", "\n", "\r\n"]);
    let token = random.text(TOKEN, 32);
    let value = match random.below(24) {
        0 => {
            return format!(
                "{end}# {} settings, see the “wiki” page = section 3{end}",
                random.pick(SERVICES)
            );
        }
        1 => return format!("# {key}=disabled-{token}{end}"),
        2 => return format!("{end}   {end}"),
        3 => return format!("export {key}={token}{end}"),
        4 => return format!("export\t{key} = '{token}'   # rotated in März{end}"),
        5 => return format!("{key} = {token}  {end}"),
        6 => return format!("{key}{end}"),
        7 => return format!("'{key}'=\"{token}\"{end}"),
        8 => String::new(),
        9 => format!("{token} # not part of it"),
        10 => format!("{token}#part-of-it"),
        11 => format!("{}==", random.text(BASE64, 43)),
        12 => format!("\"{}=\"", random.text(BASE64, 86)),
        13 => format!(
            "postgres://app:{token}@db.example.com:5432/shop?sslmode=verify-full&application_name=a=b"
        ),
        14 => format!("\"redis://:{token}@cache:6379/0\""),
        15 => format!("'{{\"type\": \"service_account\", \"key\": \"{token}\", \"n\": \"a\\nb\"}}'"),
        16 => format!("\"first\\nsecond\\t\\\"quoted\\\" and \\\\ {token}\""),
        17 => format!("'it\\'s {token} with \\n as it is'"),
        18 => format!("C:\\Users\\{token}\\new\\table"),
        19 => format!("Grüße-{token}-パスワード-🔑"),
        20 => format!("\"pa$$word ${{NOT_REPLACED}} `{token}` #1\""),
        21 => format!("   \"  {token}  \"   #  spaces count"),
        quoted => {
            let quote = if quoted == 22 { '"' } else { '\'' };
            let mut pem = format!("{quote}-----BEGIN PRIVATE KEY-----{end}");
            for _ in 0..random.below(6) + 1 {
                write!(pem, "{}{end}", random.text(BASE64, 64)).unwrap();
            }
            write!(pem, "-----END PRIVATE KEY-----{end}{quote}").unwrap();
            pem
        }
    };
    format!("{key}={value}{end}")
}

/// A file of whatever comes to mind, readable or not.
pub(crate) fn nasty(seed: u64) -> String {
    const PIECES: &[&str] = &[
        "=",
        "=",
        "=",
        "'",
        "'",
        "\"",
        "\"",
        "\\",
        "\\",
        "#",
        " #",
        " ",
        "  ",
        "\t",
        "\n",
        "\n",
        "\n",
        "\r",
        "\r\n",
        "export",
        "export ",
        "export\t",
        "A",
        "B",
        "KEY",
        "A=",
        "B=",
        "KEY=",
        "KEY =",
        "= #",
        "=#",
        "'K'=",
        "'K",
        "\\n",
        "\\'",
        "\\\"",
        "\\\\",
        "\\x41",
        "\\u0041",
        "\\101",
        "\\a\\b\\f\\n\\r\\t\\v",
        "\\\n",
        "\\\r\n",
        "${A}",
        "${B}",
        "${KEY:-d}",
        "${NONE:-a b}",
        "${NONE}",
        "${:-}",
        "${",
        "}",
        ":-",
        ":",
        "$A",
        "A='x y'\n",
        "B=\"q\"\n",
        "KEY=v # c\n",
        "B\n",
        "a.b-c",
        "é",
        "日本",
        "🔑",
        "\u{a0}",
        "\u{85}",
        "\u{b}",
        "\u{c}",
        "\u{1c}",
        "\u{1e}",
        "\u{1f}",
        "\u{2028}",
        "\u{3000}",
        "\u{200b}",
        "\u{180e}",
        "\u{feff}",
        "\0",
        "-----BEGIN",
    ];
    let mut random = Random::new(seed);
    let mut file = String::new();
    if random.below(8) == 0 {
        file.push('\u{feff}');
    }
    for _ in 0..random.below(80) + 1 {
        file.push_str(random.pick(PIECES));
    }
    file
}
