//! Makes a failing list of steps as short as it can be.

/// Leaves out whatever the failure doesn't need, larger parts first, until nothing more can go.
pub(crate) fn shrink<T: Clone>(mut steps: Vec<T>, fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let (mut at, mut any) = (0, false);
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            if fails(&fewer) {
                (steps, any) = (fewer, true);
            } else {
                at += size;
            }
        }
        if size == 1 && !any {
            break;
        }
        size = if any && size == 1 { 1 } else { size / 2 };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::shrink;

    #[test]
    fn what_a_failure_needs_is_left() {
        let fails = |steps: &[u32]| steps.contains(&13) && steps.contains(&77);
        assert_eq!(shrink((0..100).collect(), fails), [13, 77]);
    }
}
