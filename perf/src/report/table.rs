//! A table for people, in Markdown, so that it can be pasted where it is to be kept.

/// Draws a table whose first row is its head. Columns that hold only numbers below their head stand to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &'_ [String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0).max(3);
    let to_the_right = |column: usize| {
        let mut cells = rows.iter().skip(1).map(|row| cell(row, column)).filter(|cell| !cell.is_empty());
        cells.all(|cell| cell.chars().all(|sign| sign.is_ascii_digit() || ".,()–-/ ".contains(sign)))
    };
    let shape: Vec<(usize, bool)> =
        (0..columns).map(|column| (width(column), to_the_right(column))).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, &(width, right)) in shape.iter().enumerate() {
            let cell = cell(row, column);
            let padded = if right { format!("| {cell:>width$} ") } else { format!("| {cell:<width$} ") };
            text.push_str(&padded);
        }
        text.push_str("|\n");
        if number == 0 {
            for &(width, right) in &shape {
                let line = "-".repeat(width);
                text.push_str(&if right { format!("|-{line}:") } else { format!("|-{line}-") });
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        let drawn = table(&rows(&[&["proxy", "µs"], &["relay", "9 (8–12)"], &["a", "10"]]));
        let wanted =
            "| proxy |       µs |\n|-------|---------:|\n| relay | 9 (8–12) |\n| a     |       10 |\n";
        assert_eq!(drawn, wanted);
    }

    #[test]
    fn words_that_begin_with_a_number_are_words() {
        let drawn = table(&rows(&[&["clients"], &["7 of 8"], &["16 of 8"]]));
        assert!(drawn.contains("| 7 of 8  |"), "{drawn}");
    }

    #[test]
    fn a_short_row_is_filled_up() {
        let drawn = table(&rows(&[&["a", "b"], &["x"]]));
        assert_eq!(drawn, "| a   |   b |\n|-----|----:|\n| x   |     |\n");
    }
}
