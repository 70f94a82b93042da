"""Names of discs, judged: right, wrong, withheld, lost, on real scans, cropped and degraded ones, and rendered ones."""
