//! Draws the runs of `make bench-curves`: one SVG for each transport and number of readers, with
//! latency and CPU over the rate, and the images' place in docs/performance.md.
//!
//! `vidette-curves RUNS.jsonl FOLDER PAGE.md`. A file may hold several rounds; medians are drawn.

mod plot;
mod runs;
mod scale;

use std::path::Path;
use std::process::ExitCode;

use runs::Group;

const USAGE: &str = "vidette-curves RUNS.jsonl FOLDER PAGE.md";
const BEGIN: &str = "<!-- curves -->";
const END: &str = "<!-- /curves -->";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let drawn = match args.as_slice() {
        [runs, folder, page] => draw(Path::new(runs), Path::new(folder), Path::new(page)),
        _ => Err(USAGE.to_owned()),
    };
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn draw(runs: &Path, folder: &Path, page: &Path) -> Result<(), String> {
    let text = read(runs)?;
    let groups = runs::groups(&text)?;
    std::fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
    for group in &groups {
        let file = folder.join(format!("{}.svg", group.name()));
        std::fs::write(&file, plot::svg(group)).map_err(|error| about(&file, &error))?;
        println!("{}", file.display());
    }

    // The page shows what was drawn now, and nothing else.
    let whole = with_images(&read(page)?, &images(&groups, folder))?;
    std::fs::write(page, whole).map_err(|error| about(page, &error))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn images(groups: &[Group], folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let lines = groups.iter().map(|group| {
        let (title, file) = (group.title(), group.name());
        format!("![{title}: latency and CPU over the rate]({name}/{file}.svg)\n\n")
    });
    lines.collect()
}

fn with_images(page: &str, images: &str) -> Result<String, String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| format!("the page has no {BEGIN} … {END}"))?;
    Ok(format!(
        "{before}{BEGIN}\n{}\n{END}{after}",
        images.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_take_the_place_of_older_ones_alone() {
        let page = "a\n<!-- curves -->\nold\n<!-- /curves -->\nz\n";
        let expected = "a\n<!-- curves -->\n![x](y)\n<!-- /curves -->\nz\n";
        assert_eq!(with_images(page, "![x](y)\n\n").as_deref(), Ok(expected));
        assert_eq!(
            with_images(expected, "![x](y)\n\n").as_deref(),
            Ok(expected)
        );
        assert!(with_images("a", "b").is_err());
    }
}
