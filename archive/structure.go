package archive

import (
	"fmt"
	"slices"
	"strings"
)

// A Column of a table, as far as an archive must agree with the current table:
// neither its default nor how it is numbered.
type Column struct {
	Name      string
	Type      string // with length and precision
	Collation string
	NotNull   bool
	Generated string // the expression; "" where it is stored by the writer
}

// A Structure is what a table looks like.
type Structure struct {
	Columns []Column
	Indexes []string // each without its name, in any order: "PRIMARY KEY (id)"
}

// Differences says in words how other differs from s.
func (s Structure) Differences(other Structure) (all []string) {
	for i := range max(len(s.Columns), len(other.Columns)) {
		switch {
		case i >= len(s.Columns):
			all = append(all, fmt.Sprintf("it has a column %q too many", other.Columns[i].Name))
		case i >= len(other.Columns):
			all = append(all, fmt.Sprintf("it lacks column %q", s.Columns[i].Name))
		case s.Columns[i] != other.Columns[i]:
			all = append(all, fmt.Sprintf("column %d is %s, the current table's is %s", i+1, other.Columns[i], s.Columns[i]))
		}
	}
	left := slices.Clone(other.Indexes)
	for _, index := range s.Indexes {
		if at := slices.Index(left, index); at >= 0 {
			left = slices.Delete(left, at, at+1)
		} else {
			all = append(all, "it lacks the index "+index)
		}
	}
	for _, index := range left {
		all = append(all, "it has an index too many: "+index)
	}
	return all
}

// String returns the column as SQL would write it, more or less.
func (c Column) String() string {
	s := fmt.Sprintf("%q %s", c.Name, c.Type)
	if c.Collation != "" {
		s += " COLLATE " + c.Collation
	}
	if c.NotNull {
		s += " NOT NULL"
	}
	if c.Generated != "" {
		s += " AS (" + c.Generated + ")"
	}
	return s
}

// Unique reports whether an index keeps a column from having a value twice.
func (s Structure) Unique(column string) bool {
	return slices.ContainsFunc(s.Indexes, func(index string) bool {
		at := strings.LastIndex(index, "(")
		if at < 0 || !strings.HasPrefix(index, "PRIMARY KEY") && !strings.Contains(index[:at], "UNIQUE") || strings.Contains(strings.ToUpper(index[:at]), "WHERE ") {
			return false
		}
		of := strings.TrimSuffix(strings.TrimSuffix(index[at+1:], ")"), " BINARY") // as SQLite names how values are compared
		return strings.HasSuffix(index, ")") && strings.Trim(of, `"`) == column
	})
}
