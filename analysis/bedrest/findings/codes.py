"""Every remark this toolkit makes on a visit or a disc: a code for programs, one sentence for readers.

A new remark is one line here and one `Finding` where it is raised. Knows neither the callers nor tables.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from string import Formatter

from bedrest.vocabulary import FindingStage, Status

_OK, _FLAGGED, _FAILED, _NOT_IN_VIEW = Status
_INPUT, _SEGMENT, _LEVELS, _MEASURE, _EVALUATE, _CHANGE = FindingStage


class TextColumn(StrEnum):
    """Columns of tables that findings are rendered into."""

    REASON = "reason"
    SIGNALS = "signals_reason"  # why a signal is missing
    WARNINGS = "warnings"  # how a scan was read and segmented


_SIGNALS, _WARNINGS = TextColumn.SIGNALS, TextColumn.WARNINGS


class FindingCode(StrEnum):
    """The kind of a finding. Each has the stage that raises it, the status it gives a row, and its sentence.

    In a sentence ``{name:format}`` stands for a value of the finding; the format ``n word`` adds a plural s to the word
    unless the value is 1.
    """

    stage: FindingStage
    status: Status
    sentence: str
    column: TextColumn

    def __new__(cls, code: str, stage: FindingStage, status: Status, sentence: str,
                column: TextColumn = TextColumn.REASON) -> FindingCode:
        member = str.__new__(cls, code)
        member._value_ = code
        member.stage, member.status, member.sentence, member.column = stage, status, sentence, column
        return member

    @cached_property
    def value_names(self) -> frozenset[str]:
        """Values that the sentence needs."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.sentence) if name)

    # Any stage
    UNUSABLE_INPUT = "unusable_input", _INPUT, _FAILED, "{where}: expected {expected}, found {found}. {remedy}"
    DOUBTFUL_INPUT = "doubtful_input", _INPUT, _FLAGGED, "{where}: expected {expected}, found {found}. {remedy}"
    NO_IMAGES = "no_images", _SEGMENT, _FAILED, "no image of this visit can be used; its input problems say why"
    UNEXPLAINED = "unexplained", _MEASURE, _FLAGGED, "no reason was given"

    # Reading and resampling a scan
    AXES_ASSUMED = ("axes_assumed", _SEGMENT, _OK, "{contrast}: the header does not give the orientation; its axes "
                    "were taken to run to the left, the front and the head", _WARNINGS)
    SFORM_AND_QFORM_DIFFER = ("sform_and_qform_differ", _SEGMENT, _OK, "{contrast}: sform and qform lie up to "
                              "{distance_mm:.1f} mm apart; the sform was taken", _WARNINGS)
    CONTRAST_RESAMPLED = ("contrast_resampled", _SEGMENT, _OK, "{contrast} resampled linearly onto the grid of "
                          "{onto}", _WARNINGS)
    CONTRAST_RESAMPLED_IN_PART = ("contrast_resampled_in_part", _SEGMENT, _OK, "{contrast} resampled linearly onto the "
        "grid of {onto}; it does not show {missing_percent:.1f} % of that grid", _WARNINGS)

    CONTRAST_NOT_LEARNT = ("contrast_not_learnt", _SEGMENT, _OK, "{contrast} was not used: the weights were not "
                           "trained for it", _WARNINGS)

    # Images that cannot be right
    EMPTY_SLICES = ("empty_slices", _SEGMENT, _OK, "{contrast}: {count:n slice} of {total} ({direction}, {slices}, "
                    "counted from 0) without any signal", _WARNINGS)
    REPEATED_SLICES = ("repeated_slices", _SEGMENT, _OK, "{contrast}: {count:n slice} of {total} ({direction}, "
                       "{slices}, counted from 0) with the very voxels of another one", _WARNINGS)
    CUT_BY_EMPTY_SLICES = ("cut_by_empty_slices", _SEGMENT, _FLAGGED, "{contrast}: reaches slices without any signal: "
                           "it may be cut off")
    IN_REPEATED_SLICES = ("in_repeated_slices", _SEGMENT, _FLAGGED, "{contrast}: lies in slices that are copies of "
                          "others: part of it may not be shown")
    SIGNAL_VOID = ("signal_void", _SEGMENT, _FLAGGED, "{contrast}: {void_mm3:.0f} mm3 without any signal in it or "
                   "beside it: it may be cut off")
    NEGATIVE_INTENSITIES = ("negative_intensities", _SEGMENT, _FLAGGED, "{contrast}: {percent:.3g} % of the voxels are "
        "negative, down to {lowest:.0f} (the brightest has {highest:.0f}): integers that wrapped around, a phase "
        "image or a rescaled one; export the magnitude image as floats or unsigned integers")
    OVERFLOW = ("overflow", _SEGMENT, _FLAGGED, "{contrast}: intensities end at {limit:.0f}, the limit of an integer "
                "type, and drop from there to near 0: brighter ones seem to be wrapped or cut; export as floats")
    CONTRASTS_EXCHANGED = ("contrasts_exchanged", _SEGMENT, _FLAGGED, "{one} and {other} seem to be exchanged: "
        "{tissue} over disc is {one_ratio:.2f} in {one}, {other_ratio:.2f} in {other}, expected the other way round")
    MARROW_BRIGHTER_THAN_DISC = ("marrow_brighter_than_disc", _SEGMENT, _FLAGGED, "{contrast}: darker than the marrow "
        "beside it, which has {ratio:.2f} of its signal, expected at most {high}: is this the fat image?")
    MARROW_DARKER_THAN_DISC = ("marrow_darker_than_disc", _SEGMENT, _FLAGGED, "{contrast}: brighter than the marrow "
        "beside it, which has {ratio:.2f} of its signal, expected at least {low}: is this the water image?")
    CANAL_DARK_IN_T2 = ("canal_dark_in_t2", _SEGMENT, _FLAGGED, "t2: the spinal canal has {ratio:.2f} of the discs' "
                        "signal, expected at least {low}: is this image T2-weighted?")
    CANAL_BRIGHT_IN_T1 = ("canal_bright_in_t1", _SEGMENT, _FLAGGED, "t1: the spinal canal has {ratio:.2f} of the "
                          "discs' signal, expected at most {high}: is this image T1-weighted?")
    NO_SPINAL_CANAL = ("no_spinal_canal", _SEGMENT, _FLAGGED, "is this a lumbar spine? {canal_cm3:.1f} cm3 of spinal "
                       "canal a disc, expected at least {low}: levels were not counted")
    NOT_A_LUMBAR_SPINE = ("not_a_lumbar_spine", _SEGMENT, _FAILED, "level not known: no lumbar spine to count levels "
                          "in")
    FEW_DISCS = ("few_discs", _SEGMENT, _FLAGGED, "level uncertain: {count:n disc} found, too few to be sure of a "
                 "lumbar spine")

    # Segmentation
    COMPUTED_IN_TILES = ("computed_in_tiles", _SEGMENT, _OK, "computed in tiles: {voxels} voxels, over "
                         "{limit}", _WARNINGS)
    OUT_OF_MEMORY = ("out_of_memory", _SEGMENT, _OK, "out of memory on {device}: computed in tiles on "
                     "{next_device}", _WARNINGS)
    SPINE_NOT_LOCATED = ("spine_not_located", _SEGMENT, _OK, "no spine found on the coarse grid: the whole scan was "
                         "searched", _WARNINGS)
    REGIONS_LEFT_OUT = ("regions_left_out", _SEGMENT, _OK, "{count:n disc-like region} without a vertebra beside it "
                        "left out", _WARNINGS)
    DISCS_ABOVE_GAP_LEFT_OUT = ("discs_above_gap_left_out", _SEGMENT, _OK, "discs more than {gap_mm:.0f} mm above the "
        "next lower one left out", _WARNINGS)
    DISC_IN_SACRUM = ("disc_in_sacrum", _SEGMENT, _OK, "a large disc lies inside the sacrum: S1 may be a transitional "
                      "vertebra; check the names", _WARNINGS)
    SACRUM_NOT_IN_VIEW = ("sacrum_not_in_view", _SEGMENT, _OK, "the sacrum is not in view, so levels cannot be "
                          "counted", _WARNINGS)
    NO_DISC_FOUND = ("no_disc_found", _SEGMENT, _FAILED, "no disc found in this scan: expected discs between lumbar "
                     "vertebrae; check field of view and contrast")
    MASK_EMPTY = "mask_empty", _SEGMENT, _FAILED, "the mask is empty"
    DISC_OUT_OF_VIEW = ("disc_out_of_view", _SEGMENT, _NOT_IN_VIEW, "its place lies outside the field of view or at "
                        "its edge")
    DISC_MISSED = ("disc_missed", _SEGMENT, _FAILED, "not found, though the field of view shows the place where its "
                   "neighbours say it should be")
    DISC_IN_GAP = "disc_in_gap", _SEGMENT, _FAILED, "not found: a gap between its neighbours shows where it should be"
    LOW_PROBABILITY = ("low_probability", _SEGMENT, _FLAGGED, "low confidence: mean probability {probability:.2f}, "
                       "expected at least {lowest}")

    # Names of discs
    LEVEL_UNCERTAIN = ("level_uncertain", _SEGMENT, _FLAGGED, "level uncertain: probability {confidence:.2f} that this "
                       "is {name}, as the border between sacrum and vertebrae is not clear")
    DISC_WITHOUT_LEVEL = ("disc_without_level", _SEGMENT, _FLAGGED, "level not known: the sacrum is not in view, so "
                          "levels cannot be counted")
    LEVEL_WITHOUT_DISC = ("level_without_disc", _SEGMENT, _FAILED, "level not known: the sacrum is not in view, so "
                          "levels cannot be counted")
    NAMED_AS_AT_OTHER_VISIT = ("named_as_at_other_visit", _MEASURE, _FLAGGED, "level set by the other visits: disc "
        "positions match {like}")
    RENAMED_AS_AT_OTHER_VISIT = ("renamed_as_at_other_visit", _MEASURE, _FLAGGED, "level set by the other visits: disc "
        "positions match {like}, {levels:n level} {direction} than named here")
    NAMES_DIFFER_FROM_OTHER_VISIT = ("names_differ_from_other_visit", _MEASURE, _FLAGGED, "level uncertain: disc "
        "positions match {like}, {levels:n level} {direction} than named here")
    LEVEL_SET_MANUALLY = "level_set_manually", _MEASURE, _OK, "level set by levels.csv"
    NOT_DRAWN = "not_drawn", _MEASURE, _NOT_IN_VIEW, "the mask ends before this level"
    LEVEL_NOT_ASKED = "level_not_asked", _MEASURE, _NOT_IN_VIEW, "not among the levels that study.toml lists"
    DISC_EXCLUDED = "disc_excluded", _MEASURE, _FAILED, "excluded by {by}"
    LEVEL_GIVEN_AWAY = "level_given_away", _MEASURE, _FAILED, "no disc has this level since {by} gave it another"
    NO_SUCH_DISC = ("no_such_disc", _LEVELS, _FAILED, "levels.csv: expected a disc {name} to be named {level}, found "
                    "none in {where}. Check the names in the mask's label table and correct the row.")

    # Manually edited masks
    DISC_REMOVED = "disc_removed", _MEASURE, _OK, "not in the edited mask"
    DISC_EDITED = ("disc_edited", _MEASURE, _OK, "edited manually: the voxels of the edited mask were counted, without "
                   "a standard error")
    DISC_ADDED = "disc_added", _MEASURE, _OK, "in the edited mask alone"
    NOT_IN_EDITED_MASK = "not_in_edited_mask", _MEASURE, _FAILED, "not in the edited mask"
    LABELS_RENUMBERED = ("labels_renumbered", _MEASURE, _FLAGGED, "level uncertain: most of this disc was {name} "
                         "before editing, so labels may have been renumbered on saving (restore them, or confirm the "
                         "name in levels.csv)")

    # Masks of others
    NUMBERING_TAKEN = "numbering_taken", _MEASURE, _OK, "labels read as those of {numbering} ({kind})"
    NUMBERING_SHARED = ("numbering_shared", _MEASURE, _FLAGGED, "labels read as those of {numbering} ({kind}), but "
                        "other masks use these numbers for something else: confirm with labels {numbering}")
    TRANSITIONAL_LABEL = ("transitional_label", _MEASURE, _FLAGGED, "level uncertain: label {label} stands for {what}")
    NOT_UPRIGHT = ("not_upright", _MEASURE, _FLAGGED, "by the header the discs are stacked {degrees:.0f} degrees off "
                   "the head-foot axis: the order of their names was not checked")
    DISC_DISTANCE = ("disc_distance", _MEASURE, _FLAGGED, "{distance_mm:.0f} mm a level from {name}, {usual_mm:.0f} "
                     "usual in this mask: a disc may be missing between them, or one have the wrong name")

    # One disc
    NOT_IN_MASK = "not_in_mask", _MEASURE, _FAILED, "label {label} ({name}) is not in the mask"
    AT_IMAGE_EDGE = "at_image_edge", _MEASURE, _FLAGGED, "touches the edge of the image: it may be cut off"
    IN_PIECES = ("in_pieces", _MEASURE, _FLAGGED, "in several pieces: {stray_percent:.1f} % of its voxels lie outside "
                 "the largest")
    VOLUME_IMPLAUSIBLE = ("volume_implausible", _MEASURE, _FLAGGED, "volume {value_mm3:.0f} mm3 outside {low_mm3:.0f} "
                          "to {high_mm3:.0f}")
    EXTENT_IMPLAUSIBLE = "extent_implausible", _MEASURE, _FLAGGED, "extent {extent_mm:.0f} mm above {high_mm:.0f}"
    HEIGHT_IMPLAUSIBLE = ("height_implausible", _MEASURE, _FLAGGED, "mean height {height_mm:.1f} mm outside {low_mm} "
                          "to {high_mm}")
    DIAMETER_IMPLAUSIBLE = ("diameter_implausible", _MEASURE, _FLAGGED, "{direction} diameter {diameter_mm:.1f} mm "
                            "below {low_mm:.0f}")
    SPACING_PERMUTED = ("spacing_permuted", _MEASURE, _FLAGGED, "header spacing looks permuted: volumes are valid, "
                        "heights, diameters and positions are not")

    # A disc among the others of its spine
    ONE_SIDED = ("one_sided", _MEASURE, _FLAGGED, "{right_percent:.0f} % of it lies to the right of the spine's "
                 "midline, outside {low_percent:.0f} to {high_percent:.0f} %: one side may be missing")
    VOLUME_OUT_OF_LINE = ("volume_out_of_line", _MEASURE, _FLAGGED, "volume {value_mm3:.0f} mm3 is {ratio:.2f} times "
                          "the volume expected at {name} from the other discs of this spine, outside {low} to {high}")
    SIGNAL_TOO_DARK = ("signal_too_dark", _MEASURE, _FLAGGED, "{contrast} signal is {ratio:.2f} of the other discs', "
                       "below {low}: darker than any disc, perhaps bone or air")
    BRIGHTER_THAN_FLUID = ("brighter_than_fluid", _MEASURE, _FLAGGED, "t2 signal is {ratio:.2f} of the spinal canal's, "
                           "above {high}: brighter than its fluid")
    FAT_FRACTION_HIGH = ("fat_fraction_high", _MEASURE, _FLAGGED, "fat fraction {fraction:.2f} above {high}: perhaps "
                         "marrow or fat")

    # Measures without a value
    MEASURE_UNDEFINED = "measure_undefined", _MEASURE, _OK, "no {measure}: it has no value {where}"
    NO_SECTION = ("no_section", _MEASURE, _OK, "no bulge, canal width and intervertebral length: the disc has no name "
                  "or no mid-sagittal section")
    BONE_ABSENT = "bone_absent", _MEASURE, _OK, "no {measure}: {bone} is not in the tissue map"
    BONE_IN_PIECES = ("bone_in_pieces", _MEASURE, _OK, "no {measure}: {bone} is in pieces: the largest has "
                      "{largest_percent:.0f} % of its voxels")
    BONE_CUT_OFF = "bone_cut_off", _MEASURE, _OK, "no {measure}: {bone} reaches the edge of the image"
    BONE_OFF_END_PLATE = ("bone_off_end_plate", _MEASURE, _OK, "no {measure}: {bone} is not where the disc's end plate "
                          "is")
    BONE_BACK_OFF = ("bone_back_off", _MEASURE, _OK, "no {measure}: the back of {bone} lies {distance_mm:.0f} mm from "
                     "the disc's")
    BONE_MISPLACED = ("bone_misplaced", _MEASURE, _OK, "no {measure}: {bone} lies {away_mm:.0f} mm beyond and "
                      "{aside_mm:.0f} mm beside the disc")
    CANAL_ABSENT = "canal_absent", _MEASURE, _OK, "no {measure}: no spinal canal near the disc"
    CANAL_IMPLAUSIBLE = ("canal_implausible", _MEASURE, _OK, "no {measure}: the spinal canal is {narrowest_mm:.0f} to "
                         "{widest_mm:.0f} mm wide")

    # Signals
    IMAGES_ON_ANOTHER_GRID = ("images_on_another_grid", _MEASURE, _OK, "the images lie on another grid than the mask; "
                              "resample = true under [images] takes signals all the same", _SIGNALS)
    CONTRAST_CUT_OFF = "contrast_cut_off", _MEASURE, _OK, "{contrast}: its image does not show all discs", _SIGNALS
    NO_TISSUE_MASK = "no_tissue_mask", _MEASURE, _OK, "no tissue mask to normalise signals by", _SIGNALS
    NEIGHBOURS_UNKNOWN = ("neighbours_unknown", _MEASURE, _OK, "the neighbours of a disc without a level are not "
                          "known", _SIGNALS)
    POSITION_UNKNOWN = ("position_unknown", _MEASURE, _OK, "the disc's position is not known, nor are the tissues "
                        "beside it", _SIGNALS)
    MARROW_SIGNAL_UNKNOWN = ("marrow_signal_unknown", _MEASURE, _OK, "marrow's whole signal needs the water and fat "
                             "images, or the in-phase one", _SIGNALS)
    REFERENCE_TISSUE_SMALL = ("reference_tissue_small", _MEASURE, _OK, "{tissue}, the reference tissue, has {voxels} "
                              "voxels beside the disc, fewer than {fewest}", _SIGNALS)
    REFERENCE_TISSUE_DARK = "reference_tissue_dark", _MEASURE, _OK, "no signal in the {tissue}", _SIGNALS
    FIELD_SLOPE_UNKNOWN = ("field_slope_unknown", _MEASURE, _OK, "no vertebra beside the disc to estimate the slope of "
                           "the field from", _SIGNALS)
    DISC_CORE_SMALL = ("disc_core_small", _MEASURE, _OK, "fat fraction: {voxels} voxels left of the disc without its "
                       "surface, fewer than {fewest}", _SIGNALS)
    DISC_DARK = "disc_dark", _MEASURE, _OK, "fat fraction: no signal in the disc", _SIGNALS

    # The lumbar spine
    NO_LUMBAR_LENGTH = "no_lumbar_length", _MEASURE, _FLAGGED, "no lumbar length without {levels}"
    NO_LORDOSIS = "no_lordosis", _MEASURE, _FLAGGED, "no lordosis without the lower side of {levels}"
    DISCS_FLAGGED = "discs_flagged", _MEASURE, _FLAGGED, "flagged: {levels}"

    # Two masks of one scan
    MISSING_IN_MASK = "missing_in_mask", _EVALUATE, _FAILED, "{name} is missing in the {mask} mask"
    MISSING_IN_BOTH_MASKS = ("missing_in_both_masks", _EVALUATE, _FAILED, "{name} is missing in the predicted and in "
                             "the reference mask")
    NAMED_AS_ANOTHER = ("named_as_another", _EVALUATE, _FAILED, "{name} of the {mask} mask is {other} of the "
                        "{opposite} mask (Dice {dice:.2f}), {off}: correct the names of one of them")
    NO_OVERLAP = ("no_overlap", _EVALUATE, _FLAGGED, "the two masks share no voxel of it: are they of one scan?")
    REFERENCE_MASK_MOVED = ("reference_mask_moved", _EVALUATE, _OK, "the reference mask lay on another grid and was "
                            "moved to ours by nearest neighbour")

    # Two visits
    NO_SUCH_VISIT = "no_such_visit", _CHANGE, _FAILED, "no such visit among the measures"
    NOT_MEASURED_THERE = "not_measured_there", _CHANGE, _FAILED, "{name} was not measured there"
    NO_USABLE_VOLUME = "no_usable_volume", _CHANGE, _FAILED, "no usable volume ({value_mm3})"
    NOT_FOLLOWED = "not_followed", _CHANGE, _FAILED, "{name}: a disc without a level cannot be followed between visits"
    CHANGE_IMPLAUSIBLE = ("change_implausible", _CHANGE, _FLAGGED, "change {change_percent:+.1f} % outside "
                          "-{high_percent:.0f} to +{high_percent:.0f}")
    ACQUISITION_DIFFERS = ("acquisition_differs", _CHANGE, _FLAGGED, "acquired unlike {reference} ({what}): the "
        "interval is wider for it, but cannot hold what another scanner or protocol does to an image")
    DISC_MOVED = ("disc_moved", _CHANGE, _FLAGGED, "distance to {neighbour} {distance_mm:.1f} mm, at {reference} "
                  "{reference_mm:.1f}: differs by more than {high_mm:.0f}, possibly renamed")
    VOLUMES_COUNTED = ("volumes_counted", _CHANGE, _OK, "the voxels of both masks were counted, since only one of them "
                       "is as the network made it")
    NO_LIMIT = ("no_limit", _CHANGE, _OK, "no limit: no repeated baseline scans, and no standard error of this change "
                "({masks} masks)")


# Remarks on a disc's name; a name set manually or by the other visits settles them.
ABOUT_NAME = frozenset({
    FindingCode.LEVEL_UNCERTAIN, FindingCode.DISC_WITHOUT_LEVEL, FindingCode.LEVEL_WITHOUT_DISC,
    FindingCode.NAMES_DIFFER_FROM_OTHER_VISIT, FindingCode.LABELS_RENUMBERED, FindingCode.FEW_DISCS,
    FindingCode.NO_SPINAL_CANAL, FindingCode.NOT_A_LUMBAR_SPINE,
})
