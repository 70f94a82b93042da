# Small data sets of R packages, written exactly as R holds them; sources in tests/reference/README.md.
# Rscript tests/reference/reference_data.R   (R 4.2.2, nlme, lme4, pbkrtest; run from the repository root)
write_exactly <- function(data, name) {
  data <- as.data.frame(data)
  numbers <- sapply(data, is.numeric)
  # %.15g gives a decimal number back as it was typed in; 17 digits only where 15 would lose something.
  as_typed <- function(v) {
    short <- sprintf("%.15g", v)
    ifelse(is.na(v), NA, ifelse(as.numeric(short) == v, short, sprintf("%.17g", v)))
  }
  data[numbers] <- lapply(data[numbers], as_typed)
  write.csv(data, file.path("tests/reference", paste0(name, ".csv")), row.names = FALSE, quote = FALSE)
}
data("sleepstudy", package = "lme4")
data("Orthodont", package = "nlme")
data("beets", package = "pbkrtest")
write_exactly(sleepstudy, "sleepstudy")
write_exactly(Orthodont, "orthodont")
write_exactly(datasets::ChickWeight, "chickweight")
write_exactly(beets, "beets")
