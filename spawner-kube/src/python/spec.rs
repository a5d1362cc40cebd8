//! Python's format specification: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.

use super::format::PyValue;

/// The widest field that is padded; nobody needs more, and a typing error must not fill the memory.
const WIDEST: usize = 4096;

#[derive(Debug, Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `format(value, spec)`.
pub(super) fn apply(value: &PyValue<'_>, spec: &str) -> Result<String, String> {
    if spec.is_empty() {
        return Ok(value.text().into_owned());
    }
    let parsed = parse(spec).ok_or_else(|| format!("the format `{spec}` cannot be read"))?;
    if parsed.width > WIDEST || parsed.precision.is_some_and(|p| p > WIDEST) {
        return Err(format!("the format `{spec}` is wider than {WIDEST}"));
    }
    let done = match value {
        PyValue::Str(text) => text_field(text, &parsed),
        PyValue::Int(number) => int_field(*number, &parsed),
        PyValue::Bool(on) => int_field(i64::from(*on), &parsed),
        PyValue::Float(number) => float_field(*number, &parsed),
    };
    let kind = if matches!(value, PyValue::Str(_)) { "text" } else { "number" };
    done.ok_or_else(|| format!("the format `{spec}` does not fit a {kind}"))
}

fn parse(spec: &str) -> Option<Spec> {
    let mut parsed = Spec::default();
    let chars: Vec<char> = spec.chars().collect();
    let mut rest = chars.as_slice();
    let is_align = |c: &char| matches!(c, '<' | '>' | '=' | '^');
    if let [fill, align, tail @ ..] = rest
        && is_align(align)
    {
        (parsed.fill, parsed.align) = (Some(*fill), Some(*align));
        rest = tail;
    } else if let [align, tail @ ..] = rest
        && is_align(align)
    {
        parsed.align = Some(*align);
        rest = tail;
    }
    if let [sign @ ('+' | '-' | ' '), tail @ ..] = rest {
        parsed.sign = Some(*sign);
        rest = tail;
    }
    if let ['#', tail @ ..] = rest {
        parsed.alternate = true;
        rest = tail;
    }
    if let ['0', tail @ ..] = rest {
        parsed.zero = true;
        rest = tail;
    }
    (parsed.width, rest) = number(rest)?;
    if let [grouping @ (',' | '_'), tail @ ..] = rest {
        parsed.grouping = Some(*grouping);
        rest = tail;
    }
    if let ['.', tail @ ..] = rest {
        tail.first().filter(|c| c.is_ascii_digit())?;
        let (precision, tail) = number(tail)?;
        parsed.precision = Some(precision);
        rest = tail;
    }
    match rest {
        [] => {}
        [kind] => parsed.kind = Some(*kind),
        _ => return None,
    }
    Some(parsed)
}

fn number(chars: &[char]) -> Option<(usize, &[char])> {
    let end = chars.iter().position(|c| !c.is_ascii_digit()).unwrap_or(chars.len());
    let (digits, rest) = chars.split_at_checked(end)?;
    if digits.is_empty() {
        return Some((0, rest));
    }
    digits.iter().collect::<String>().parse().ok().map(|n| (n, rest))
}

fn text_field(text: &str, spec: &Spec) -> Option<String> {
    let fits = matches!(spec.kind, None | Some('s'))
        && spec.sign.is_none()
        && !spec.alternate
        && spec.grouping.is_none()
        && spec.align != Some('=');
    if !fits {
        return None;
    }
    let shown: String = match spec.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text.to_owned(),
    };
    Some(pad("", &shown, spec, '<'))
}

fn int_field(number: i64, spec: &Spec) -> Option<String> {
    if spec.precision.is_some() && !matches!(spec.kind, Some('f' | 'F' | '%')) {
        return None;
    }
    let size = number.unsigned_abs();
    let (prefix, digits, group) = match spec.kind {
        None | Some('d' | 'n') => ("", size.to_string(), 3),
        Some('b') => ("0b", format!("{size:b}"), 4),
        Some('o') => ("0o", format!("{size:o}"), 4),
        Some('x') => ("0x", format!("{size:x}"), 4),
        Some('X') => ("0X", format!("{size:X}"), 4),
        Some('c') => {
            let c = u32::try_from(number).ok().and_then(char::from_u32)?;
            return spec.sign.is_none().then(|| pad("", &c.to_string(), spec, '<'));
        }
        #[expect(clippy::cast_precision_loss, reason = "Python converts to a float here as well")]
        Some('f' | 'F' | '%') => return float_field(number as f64, spec),
        Some(_) => return None,
    };
    let digits = match spec.grouping {
        Some(',') if group != 3 => return None,
        Some(mark) => grouped(&digits, mark, group),
        None => digits,
    };
    let lead = format!("{}{}", sign(number < 0, spec), if spec.alternate { prefix } else { "" });
    Some(pad(&lead, &digits, spec, '>'))
}

fn float_field(number: f64, spec: &Spec) -> Option<String> {
    let size = number.abs();
    let digits = match spec.kind {
        Some('f' | 'F') => format!("{size:.*}", spec.precision.unwrap_or(6)),
        Some('%') => format!("{:.*}%", spec.precision.unwrap_or(6), size * 100.0),
        None if spec.precision.is_none() => super::float_text(size),
        _ => return None,
    };
    if spec.alternate {
        return None;
    }
    let digits = match (spec.grouping, digits.split_once('.')) {
        (Some(mark), Some((whole, part))) => format!("{}.{part}", grouped(whole, mark, 3)),
        (Some(mark), None) => grouped(&digits, mark, 3),
        (None, _) => digits,
    };
    Some(pad(sign(number < 0.0, spec), &digits, spec, '>'))
}

fn sign(negative: bool, spec: &Spec) -> &'static str {
    match (negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        (false, _) => "",
    }
}

fn grouped(digits: &str, mark: char, size: usize) -> String {
    let count = digits.chars().count();
    let mut out = String::with_capacity(digits.len() + count / size);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (count - index).is_multiple_of(size) {
            out.push(mark);
        }
        out.push(digit);
    }
    out
}

/// Fills up to the width. `usual` is where a value of this kind goes when nothing is said.
fn pad(lead: &str, body: &str, spec: &Spec, usual: char) -> String {
    let missing = spec.width.saturating_sub(lead.chars().count() + body.chars().count());
    // A zero before the width pads numbers behind their sign, and texts, since Python 3.10, on their usual side.
    let (fill, align) = match (spec.zero, usual) {
        (true, '>') => (spec.fill.unwrap_or('0'), spec.align.unwrap_or('=')),
        (true, _) => (spec.fill.unwrap_or('0'), spec.align.unwrap_or(usual)),
        (false, _) => (spec.fill.unwrap_or(' '), spec.align.unwrap_or(usual)),
    };
    let filling = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
    match align {
        '<' => format!("{lead}{body}{}", filling(missing)),
        '^' => format!("{}{lead}{body}{}", filling(missing / 2), filling(missing - missing / 2)),
        '=' => format!("{lead}{}{body}", filling(missing)),
        _ => format!("{}{lead}{body}", filling(missing)),
    }
}
