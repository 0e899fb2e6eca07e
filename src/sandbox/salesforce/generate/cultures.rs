//! People's names, streets and numbers by language. The names come from the `fake` crate.

use fake::locales::DE_DE;
use fake::locales::Data;
use fake::locales::EN;
use fake::locales::FR_FR;
use fake::locales::IT_IT;
use fake::locales::JA_JP;
use fake::locales::NL_NL;
use fake::locales::PT_BR;
use fake::locales::TR_TR;
use fake::locales::ZH_CN;

use super::Dice;

/// A language and what goes with it.
pub(super) struct Culture {
    firsts: &'static [&'static str],
    lasts: &'static [&'static str],
    /// The same names as they stand in an e-mail.
    first_slugs: Vec<String>,
    last_slugs: Vec<String>,
    streets: &'static [&'static str],
    /// City, state or nothing, the beginning of its postal codes.
    cities: &'static [(&'static str, &'static str, &'static str)],
    pub(super) country: &'static str,
    phone: &'static str,
    /// Locale, language, time zone.
    pub(super) keys: (&'static str, &'static str, &'static str),
}

/// A name and its form in an e-mail.
pub(super) struct Person<'a> {
    pub(super) first: &'a str,
    pub(super) last: &'a str,
    pub(super) slug: (&'a str, &'a str),
}

/// All languages with their shares in a hundred.
pub(super) struct Cultures(Vec<(u32, Culture)>);

/// Names that break careless code.
const HARD: [(&str, &str, &str); 8] = [
    ("Siobhán", "O'Connor", "siobhan.oconnor"),
    ("Gian Luca", "D'Angelo", "gianluca.dangelo"),
    ("Robert \"Bob\"", "O’Neill", "bob.oneill"),
    ("Jean-François", "Lefèvre, Jr.", "jf.lefevre"),
    ("Anaïs", "N'Diaye", "anais.ndiaye"),
    ("Zoë ✨", "St. John-Smythe", "zoe.stjohn"),
    ("Null", "Null", "null.null"),
    ("محمد", "الأحمد", "mohammed.alahmad"),
];

impl Cultures {
    pub(super) fn new() -> Self {
        let us: &[_] = &[
            ("Boston", "Massachusetts", "021"),
            ("New York", "New York", "100"),
            ("Newark", "New Jersey", "071"),
            ("Hartford", "Connecticut", "061"),
            ("Chicago", "Illinois", "606"),
            ("Austin", "Texas", "787"),
            ("San José", "California", "951"),
            ("St. Louis", "Missouri", "631"),
        ];
        let de: &[_] = &[
            ("München", "Bayern", "803"),
            ("Köln", "", "506"),
            ("Dresden", "Sachsen", "010"),
            ("Zwickau", "Sachsen", "080"),
        ];
        let fr: &[_] =
            &[("Paris", "", "750"), ("Bourg-en-Bresse", "", "010"), ("Saint-Étienne", "", "420"), ("Nîmes", "", "300")];
        let it: &[_] = &[("Roma", "RM", "001"), ("L'Aquila", "AQ", "671"), ("Cagliari", "CA", "091")];
        let jp: &[_] = &[("札幌市", "北海道", "060"), ("千代田区", "東京都", "100"), ("大阪市", "大阪府", "530")];
        let cn: &[_] = &[("上海", "上海市", "200"), ("深圳", "广东省", "518"), ("北京", "北京市", "100")];
        let br: &[_] = &[("São Paulo", "SP", "010"), ("Florianópolis", "SC", "880"), ("Belém", "PA", "660")];
        let nl: &[_] = &[("'s-Hertogenbosch", "", "52"), ("Amsterdam", "", "10"), ("Den Haag", "", "25")];
        let tr: &[_] = &[("İstanbul", "", "340"), ("Ankara", "", "060"), ("Eskişehir", "", "260")];
        Self(vec![
            (46, culture::<EN>(us, "United States", "+1", ("en_US", "en_US", "America/New_York"))),
            (14, culture::<DE_DE>(de, "Deutschland", "+49", ("de_DE", "de", "Europe/Berlin"))),
            (10, culture::<FR_FR>(fr, "France", "+33", ("fr_FR", "fr", "Europe/Paris"))),
            (6, culture::<IT_IT>(it, "Italia", "+39", ("it_IT", "it", "Europe/Rome"))),
            (8, culture::<JA_JP>(jp, "日本", "+81", ("ja_JP", "ja", "Asia/Tokyo"))),
            (6, culture::<ZH_CN>(cn, "中国", "+86", ("zh_CN", "zh_CN", "Asia/Shanghai"))),
            (5, culture::<PT_BR>(br, "Brasil", "+55", ("pt_BR", "pt_BR", "America/Sao_Paulo"))),
            (3, culture::<NL_NL>(nl, "Nederland", "+31", ("nl_NL", "nl_NL", "Europe/Amsterdam"))),
            (2, culture::<TR_TR>(tr, "Türkiye", "+90", ("tr_TR", "en_US", "Europe/Istanbul"))),
        ])
    }

    /// One of the languages, by their shares.
    pub(super) fn pick(&self, dice: &mut Dice) -> &Culture {
        let mut drawn = dice.below(100) as u32;
        for (share, culture) in &self.0 {
            if drawn < *share {
                return culture;
            }
            drawn -= share;
        }
        &self.0[0].1
    }
}

fn culture<D: Data>(
    cities: &'static [(&'static str, &'static str, &'static str)],
    country: &'static str,
    phone: &'static str,
    keys: (&'static str, &'static str, &'static str),
) -> Culture {
    let slugs = |names: &[&str]| names.iter().map(|name| slug(name)).collect();
    Culture {
        firsts: D::NAME_FIRST_NAME,
        lasts: D::NAME_LAST_NAME,
        first_slugs: slugs(D::NAME_FIRST_NAME),
        last_slugs: slugs(D::NAME_LAST_NAME),
        streets: D::ADDRESS_STREET_SUFFIX,
        cities,
        country,
        phone,
        keys,
    }
}

impl Culture {
    /// A person; one in two hundred has a name that breaks careless code.
    pub(super) fn person(&self, dice: &mut Dice) -> Person<'_> {
        if dice.chance(5) {
            let (first, last, slug) = dice.pick(&HARD);
            return Person { first, last, slug: slug.split_once('.').unwrap_or((slug, "x")) };
        }
        let (first, last) = (dice.below(self.firsts.len()), dice.below(self.lasts.len()));
        let slug = (self.first_slugs[first].as_str(), self.last_slugs[last].as_str());
        Person { first: self.firsts[first], last: self.lasts[last], slug }
    }

    /// City, state, postal code.
    pub(super) fn place(&self, dice: &mut Dice) -> (&'static str, &'static str, String) {
        let (city, state, code) = dice.pick(self.cities);
        let rest = dice.below(100);
        let code = match self.country {
            "日本" => format!("{code}-{:04}", rest * 7),
            "中国" => format!("{code}{:03}", rest),
            "Brasil" => format!("{code}{rest:02}-{:03}", rest * 3),
            "Nederland" => format!("{code}{rest:02} AB"),
            _ => format!("{code}{rest:02}"),
        };
        (city, state, code)
    }

    /// A street, sometimes of two lines, with a comma or with quotes.
    pub(super) fn street(&self, dice: &mut Dice, name: &str, out: &mut String) {
        use std::fmt::Write;
        out.clear();
        let number = 1 + dice.below(2_000);
        let suffix = dice.pick(self.streets);
        let written = match self.country {
            "United States" => write!(out, "{number} {name} {suffix}"),
            "日本" => write!(out, "{name}{}-{}-{number}", number % 9 + 1, number % 20 + 1),
            "中国" => write!(out, "{name}{suffix}{number}号"),
            "Deutschland" | "Nederland" => write!(out, "{name}{suffix} {}", number % 200 + 1),
            "France" | "Italia" | "Brasil" => write!(out, "{suffix} {name}, {}", number % 300 + 1),
            _ => write!(out, "{name} {suffix} {number}"),
        };
        debug_assert!(written.is_ok());
        match dice.below(40) {
            0 => out.push_str("\nBuilding 4, Floor 2"),
            1 => out.push_str("\r\nAttn: \"Receiving\""),
            2 => out.push_str(", Suite #210"),
            _ => {}
        }
    }

    /// A telephone number.
    pub(super) fn phone(&self, dice: &mut Dice, out: &mut String) {
        use std::fmt::Write;
        out.clear();
        let (area, first, last) = (200 + dice.below(700), dice.below(1000), dice.below(10_000));
        let written = match self.phone {
            "+1" => write!(out, "({area}) 555-{last:04}"),
            code => write!(out, "{code} {area} {first:03}{last:04}"),
        };
        debug_assert!(written.is_ok());
    }
}

/// A name as it stands in an e-mail: small letters without their marks; other scripts become `x`.
pub(super) fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            'à' | 'á' | 'â' | 'ã' | 'å' => out.push('a'),
            'ä' | 'æ' => out.push_str("ae"),
            'ç' => out.push('c'),
            'è' | 'é' | 'ê' | 'ë' => out.push('e'),
            'ì' | 'í' | 'î' | 'ï' | 'ı' => out.push('i'),
            'ñ' => out.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' => out.push('o'),
            'ö' | 'œ' => out.push_str("oe"),
            'ß' => out.push_str("ss"),
            'ş' => out.push('s'),
            'ù' | 'ú' | 'û' => out.push('u'),
            'ü' => out.push_str("ue"),
            'ğ' => out.push('g'),
            _ => {}
        }
    }
    out.truncate(24);
    if out.is_empty() { "x".to_owned() } else { out }
}
