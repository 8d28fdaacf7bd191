"""What OpenSim reads in a TRC file, as JSON; apart from pytest, which a crash of OpenSim would take with it."""

import json
import sys

import opensim

opensim.Logger.setLevelString("Off")
table = opensim.TimeSeriesTableVec3(sys.argv[1])
flat = table.flatten()
matrix = flat.getMatrix()
print(
    json.dumps(
        {
            "units": table.getTableMetaDataString("Units"),
            "fps": float(table.getTableMetaDataString("DataRate")),
            "times": list(table.getIndependentColumn()),
            "names": list(table.getColumnLabels()),
            "values": matrix.to_numpy().tolist(),
        }
    )
)
