//! `points`: the map of a meter, as its profile has it.
//!
//! Pure formatting around a profile; it never asks a meter. Source: docs/cli.md.

use serde::Serialize;

use super::args::meter::Points;
use super::exit::Exit;
use super::export::{self, csv};
use super::shown::Style;
use super::{output, profile, screen, table};
use crate::meter::{Access, Decimal, Point, Profile, Scale};

/// Prints the points of a profile.
#[must_use]
pub fn points(args: &Points) -> Exit {
    let profile = match profile::find(Some(&args.profile), None, args.config.as_deref()) {
        Ok(profile) => profile,
        Err(stop) => return stop.report(),
    };
    let text = match args.format.style() {
        Style::Table => shown(&profile),
        Style::Json => json(&profile),
        Style::Csv => {
            let rows =
                [HEAD.map(str::to_owned)].into_iter().chain(profile.points.iter().map(|p| row(&profile, p)));
            rows.map(|row| csv(row.into_iter())).collect()
        }
    };
    output::print(text.as_bytes())
}

fn shown(profile: &Profile) -> String {
    let mut text = format!("{}: {}\n", profile.name, profile.title);
    for block in &profile.blocks {
        let first = profile.register(block.range.start);
        let last = first + u32::from(block.range.quantity) - 1;
        let polled = if block.polled { "" } else { ", not read in the background" };
        text.push_str(&format!(
            "\nBlock {}: function {}, {first}-{last}{polled}\n",
            block.name, block.range.function
        ));
        let rows = [HEAD.map(str::to_owned).to_vec()];
        let points = profile.points_of(block).map(|point| row(profile, point).to_vec());
        // The block stands in the heading.
        let rows: Vec<_> = rows.into_iter().chain(points).map(without_block).collect();
        text.push_str(&table::plain(&rows, screen::width()));
    }
    if !profile.commands.is_empty() {
        text.push_str("\nCommands\n");
        let rows = profile.commands.iter().map(|command| {
            vec![
                format!("{}={}", command.point, command.name),
                command.code.to_string(),
                command.effect.clone(),
            ]
        });
        text.push_str(&table::plain(&rows.collect::<Vec<_>>(), screen::width()));
    }
    text
}

fn without_block(mut row: Vec<String>) -> Vec<String> {
    row.retain({
        let mut column = 0;
        move |_| {
            column += 1;
            column != BLOCK_COLUMN
        }
    });
    row
}

fn row(profile: &Profile, point: &Point) -> [String; 9] {
    [
        point.register.to_string(),
        point.name.clone(),
        profile.blocks.get(point.block).map_or(String::new(), |block| block.name.clone()),
        point.format.word().to_owned(),
        point.unit.unwrap_or_default().to_owned(),
        scale(point).unwrap_or_default(),
        access(point.access).to_owned(),
        allowed(point),
        point.description.clone(),
    ]
}

pub(super) fn scale(point: &Point) -> Option<String> {
    point.scale.as_ref().map(|scale| match scale {
        Scale::Factor(step) => step.to_string(),
        Scale::Exponent(name) => format!("10^{name}"),
        Scale::Ratio(ratio) => {
            let factor = (ratio.factor != Decimal::whole(1)).then(|| ratio.factor.to_string());
            let times = factor.into_iter().chain(ratio.times.iter().cloned()).collect::<Vec<_>>().join(" x ");
            let times = if times.is_empty() { "1".to_owned() } else { times };
            ratio.divided_by.iter().fold(times, |text, name| format!("{text} / {name}"))
        }
    })
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Read => "R",
        Access::ReadWrite => "R/W",
    }
}

/// What it may hold, as its registers have it.
fn allowed(point: &Point) -> String {
    let span = |span: &std::ops::RangeInclusive<f64>| {
        let (low, high) = (span.start(), span.end());
        if span.start() == span.end() { low.to_string() } else { format!("{low}..{high}") }
    };
    point.allowed.iter().map(span).collect::<Vec<_>>().join(" ")
}

fn json(profile: &Profile) -> String {
    let point = |point: &'_ Point| JsonPoint {
        name: point.name.clone(),
        register: point.register,
        registers: point.range.quantity,
        function: point.range.function.0,
        address: point.range.start,
        block: profile.blocks.get(point.block).map(|block| block.name.clone()),
        group: point.group.word(),
        format: point.format.word(),
        unit: point.unit,
        scale: scale(point),
        writable: point.access == Access::ReadWrite,
        allowed: point.allowed.iter().map(|span| [*span.start(), *span.end()]).collect(),
        codes: point
            .codes
            .iter()
            .map(|code| JsonCode { code: code.code, means: code.means.clone() })
            .collect(),
        copy_of: point.copy_of.clone(),
        description: point.description.clone(),
    };
    export::line(&JsonProfile {
        name: &profile.name,
        title: &profile.title,
        points: profile.points.iter().map(point).collect(),
        commands: profile
            .commands
            .iter()
            .map(|command| JsonCommand {
                point: &command.point,
                name: &command.name,
                code: command.code,
                effect: &command.effect,
            })
            .collect(),
    })
}

#[derive(Serialize)]
struct JsonProfile<'a> {
    name: &'a str,
    title: &'a str,
    points: Vec<JsonPoint>,
    commands: Vec<JsonCommand<'a>>,
}

#[derive(Serialize)]
struct JsonPoint {
    name: String,
    register: u32,
    registers: u16,
    function: u8,
    address: u16,
    block: Option<String>,
    group: &'static str,
    format: &'static str,
    unit: Option<&'static str>,
    scale: Option<String>,
    writable: bool,
    allowed: Vec<[f64; 2]>,
    codes: Vec<JsonCode>,
    copy_of: Option<String>,
    description: String,
}

#[derive(Serialize)]
struct JsonCode {
    code: u16,
    means: String,
}

#[derive(Serialize)]
struct JsonCommand<'a> {
    point: &'a str,
    name: &'a str,
    code: u16,
    effect: &'a str,
}

const HEAD: [&str; 9] =
    ["register", "name", "block", "format", "unit", "scale", "access", "range", "description"];

/// Which of [`HEAD`] is the block, from 1.
const BLOCK_COLUMN: usize = 3;
