"""A subject whose visits look as if the network had segmented them and measured them jointly; no network runs."""

from pathlib import Path

import numpy as np
import pandas as pd
from bedrest import schemas
from bedrest.io.images.masks import write_label_map, write_volume
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.segmentation.weights import chosen_weights
from bedrest.settings import Study
from bedrest.stages import change as change_stage
from bedrest.stages import measure as measure_stage
from bedrest.stages.stage import Job
from bedrest.types import Grid, LabelMap, Volume
from bedrest.vocabulary import LEVEL_OF_LABEL
from given_study import SPINE, saved, spine
from scipy import ndimage

VOXEL_MM3 = 16.0
SESSIONS = {"ses-1": (-3.0, "baseline"), "ses-2": (60.0, "bed_rest"), "ses-3": (90.0, "recovery")}
SWELLING = {"ses-1": 1.0, "ses-2": 1.2, "ses-3": 1.1}


class Segmented:
    """Three visits of the subject 01; `lost` gives, by label, the findings of levels that were not found."""

    def __init__(self, folder: Path, *, lost: dict | None = None, **settings) -> None:
        lost = lost or {}
        self.study = Study(name="s", groups=("g",), reference_session="ses-1", tissues="discs", images={
            "layout": "csv", "root": folder}, sessions=[{"id": s, "study_day": day, "phase": phase}
                                                        for s, (day, phase) in SESSIONS.items()], **settings)
        self.results = StudyResults(folder / "out")
        rows: dict = {t: [] for t in (schemas.SCAN_RECORDS, schemas.FINDINGS, schemas.SESSIONS, schemas.JOINT)}
        for session, swelling in SWELLING.items():
            labels = np.where(np.isin(spine(swelling), list(lost)), 0, spine(swelling)).astype(np.int32)
            grid = Grid(labels.shape, SPINE)
            soft = ndimage.gaussian_filter((labels > 0).astype(np.float32), 0.7)
            write_label_map(LabelMap(labels, grid), self.results.mask("01", session), names=LEVEL_OF_LABEL)
            write_volume(Volume(soft, grid), self.results.probability("01", session), dtype=np.int16)
            key = {"subject": "01", "session": session}
            day, phase = SESSIONS[session]
            rows[schemas.SESSIONS].append({**key, "study_day": day, "phase": phase})
            rows[schemas.SCAN_RECORDS].append({
                **key, "mask_path": str(self.results.mask("01", session).relative_to(folder / "out")),
                "source": "automatic", "contrasts": "water", "status": "ok"})
            rows[schemas.FINDINGS] += [{
                **key, "level": level, "label": k, "mean_probability": np.nan if k in lost else 0.9,
                "level_confidence": np.nan if k in lost else 0.95,
                "status": lost[k][0].status.value if k in lost else "ok", "findings": lost.get(k, ())}
                for k, level in LEVEL_OF_LABEL.items()]
            rows[schemas.JOINT] += [{
                **key, "level": level, "volume_method": "joint", "contrasts": "water", "grid_shifts": 4,
                "boundary_uncertainty": 0.1,
                "volume_mm3": 1.02 * VOXEL_MM3 * (labels == k).sum(), "volume_single_mm3": 1.0}
                for k, level in LEVEL_OF_LABEL.items() if k not in lost]
        rows[schemas.SUBJECTS] = [{"subject": "01", "group": "g"}]
        for table in (schemas.SCANS, schemas.EDITED_MASKS, schemas.LEVEL_NAMES, schemas.MATCHES,
                      schemas.INPUT_PROBLEMS):
            rows[table] = []
        for table, listed in rows.items():
            self.put(typed_frame(listed, table) if listed else empty_table(table), table)
        assert chosen_weights(None).with_suffix(".errors.json").is_file()

    def put(self, frame: pd.DataFrame, table) -> None:
        write_table(frame, self.results.subject_table("01", table), table)

    def mask(self, session: str) -> np.ndarray:
        """The automatic mask, to be edited."""
        import nibabel as nib

        return np.asarray(nib.load(self.results.mask("01", session)).dataobj).astype(np.int16)

    def edit(self, **masks: np.ndarray) -> None:
        """Edited masks of visits, by session with _ for -."""
        rows = [{"subject": "01", "session": s.replace("_", "-"), "sha256": "", "path": str(
            saved(self.results.output_dir / f"masks/edited/01_{s.replace('_', '-')}_discs.nii.gz", mask, SPINE))}
            for s, mask in masks.items()]
        self.put(typed_frame(rows, schemas.EDITED_MASKS), schemas.EDITED_MASKS)

    def tables(self) -> dict[str, list[str]]:
        """Measured anew: the lines of the subject's tables."""
        job = Job(self.study, self.results, "01", "cpu", 1)
        measure_stage.run(job)
        change_stage.run(job)
        return {t.name: self.results.subject_table("01", t).read_text().splitlines()
                for t in (schemas.MEASURES, schemas.SPINE_MEASURES, schemas.CHANGE, schemas.FAILURES)}

    def read(self, table, *keys: str) -> pd.DataFrame:
        return self.results.read_subject("01", table).set_index(list(keys or ("session", "level")))
