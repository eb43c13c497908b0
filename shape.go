package holdfast

import "holdfast/internal/deliver"

// Shape says what a sink gets of the rows: which tables, under which names, and
// with which columns added.
type Shape = deliver.Shape

// Added is a column that a sink gets besides those of the row.
type Added = deliver.Added

// What can be in an added column, besides a text that is the same in every row.
const (
	AddSeq        = deliver.Seq        // the row's seq
	AddReceivedAt = deliver.ReceivedAt // its time of receipt, in UTC
	AddStream     = deliver.FromStream // the stream's name
)
