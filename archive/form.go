package archive

import (
	"fmt"
	"slices"
)

// Engines and compressions that a Form names.
const (
	EngineInnoDB = "innodb"
	EngineAria   = "aria"

	CompressPage = "page" // MariaDB: pages that InnoDB compresses as it writes them
	CompressRow  = "row"  // MariaDB: InnoDB's ROW_FORMAT=COMPRESSED
	CompressLZ4  = "lz4"  // PostgreSQL: long values
	CompressPGLZ = "pglz" // PostgreSQL: long values
)

// A Form is how archived tables are stored where that is not as the current
// ones are. The zero value leaves them as they are. Which forms there are
// depends on the database, which judges them.
type Form struct {
	Engine     string `json:"engine,omitempty"`     // of MariaDB
	Compress   string `json:"compress,omitempty"`   // CompressPage, ...
	Tablespace string `json:"tablespace,omitempty"` // of PostgreSQL
}

// Asked reports whether archived tables are to be stored in a form of their own.
func (f Form) Asked() bool { return f != Form{} }

// Check refuses words that no database knows, and a form in which late rows could
// not be moved into archives.
func (f Form) Check(late string) error {
	switch {
	case f.Engine == EngineAria && late == LateRoute:
		return fmt.Errorf("late: %s moves rows into archives in transactions, and engine %s has none: late: %s or %s, or engine %s with compress: %s", LateRoute, EngineAria, LateName, LateCurrent, EngineInnoDB, CompressPage)
	case !slices.Contains([]string{"", EngineInnoDB, EngineAria, "myisam", "archive"}, f.Engine):
		return fmt.Errorf("engine %q of archives is not known: %q or %q", f.Engine, EngineInnoDB, EngineAria)
	case !slices.Contains([]string{"", CompressPage, CompressRow, CompressLZ4, CompressPGLZ}, f.Compress):
		return fmt.Errorf("compress %q of archives is not known: %q or %q on MariaDB, %q or %q on PostgreSQL", f.Compress, CompressPage, CompressRow, CompressLZ4, CompressPGLZ)
	case len(f.Tablespace) > maxName:
		return fmt.Errorf("tablespace %q of archives is longer than a name can be", f.Tablespace)
	}
	return nil
}

// Over returns f, with what is said of it in place of what it says.
func (f Form) Over(said Form) Form {
	for _, one := range []struct{ to, from *string }{{&f.Engine, &said.Engine}, {&f.Compress, &said.Compress}, {&f.Tablespace, &said.Tablespace}} {
		if *one.from != "" {
			*one.to = *one.from
		}
	}
	return f
}
