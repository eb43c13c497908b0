package dialect

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"holdfast/archive"
)

// A holding is what columns of a type hold, as far as keys and dates go.
type holding struct {
	known  bool // else nothing is said of it
	whole  bool // whole numbers
	moment bool // dates, with or without a time of day
	// wide says that it may hold what is no whole number of 64 bits all the same.
	wide bool
}

// Misfits says why columns of a member of the family cannot be what the family
// takes them for. Where there is any, neither keys nor dates of the table can be
// asked for.
func (s *Session) Misfits(f *archive.Family, t archive.Table, is archive.Structure) (all []string) {
	if len(is.Columns) == 0 {
		return []string{"it is not a plain table"}
	}
	for _, one := range used(f, t) {
		at := slices.IndexFunc(is.Columns, func(c archive.Column) bool { return c.Name == one.column })
		if at < 0 {
			all = append(all, "it has no column "+strconv.Quote(one.column))
			continue
		}
		kind := is.Columns[at].Type
		h := s.holds(kind)
		if why := one.misfit(h); h.known && why != "" {
			all = append(all, fmt.Sprintf("column %q, %s, is of type %s: %s", one.column, one.what, kind, why))
		}
	}
	return all
}

// A use is what a family wants of one column.
type use struct {
	column, what string
	misfit       func(h holding) string // why a column that holds this is of no use; "" where it is
}

// used lists the columns of a table that a family names.
func used(f *archive.Family, t archive.Table) []use {
	any := func(holding) string { return "" }
	all := []use{{t.Key, "its key", func(h holding) string {
		if h.whole {
			return ""
		}
		return `a key must be a whole number (integer or bigint): name such a column as its "key"`
	}}}
	switch {
	case t.Parent != "":
		all = append(all, use{t.ParentKey, "which holds the key of its parent", func(h holding) string {
			if h.whole {
				return ""
			}
			return "it must be a whole number (integer or bigint), as keys are"
		}})
	case f.Unit == archive.UnitTime:
		all = append(all, use{t.Date, "its date", func(h holding) string {
			switch {
			case h.moment:
				return ""
			case h.whole:
				return `with "unit": "time", dates must be of type timestamp, datetime or date: say "unit": "unix" where they are seconds since 1970`
			}
			return `with "unit": "time", dates must be of type timestamp, datetime or date`
		}})
	default:
		all = append(all, use{t.Date, "its date", func(h holding) string {
			switch {
			case h.whole:
				return ""
			case h.moment:
				return `with "unit": "unix", dates must be whole numbers, seconds since 1970: say "unit": "time" for dates of this type`
			}
			return `with "unit": "unix", dates must be whole numbers (integer or bigint), seconds since 1970`
		}})
	}
	for _, m := range f.Mirrors {
		if m.Table == t.Name {
			all = append(all, use{m.Column, "", any})
		}
		if m.Table == t.Name || m.Twin == t.Name {
			for _, c := range m.Columns {
				all = append(all, use{c, "", any})
			}
		}
	}
	return all
}

// Odd returns conditions on rows of c0, a table that has no misfits: that a key,
// and a date, is NULL or no whole number of 64 bits. They are "" where the type
// of the column leaves no such value, and where Second returns NULL for it.
func (s *Session) Odd(f *archive.Family, t archive.Table, is archive.Structure) (key, date string) {
	for _, c := range is.Columns {
		column := "c0." + s.Column(c.Name)
		wide := s.holds(c.Type).wide
		if c.Name == t.Key && (wide || !c.NotNull) {
			key = column + " IS NULL"
			if wide {
				key += " OR " + s.beyond(column)
			}
		}
		if c.Name == t.Date && f.Unit == archive.UnitUnix && wide {
			date = s.beyond(column)
		}
	}
	return key, date
}

// integers is a condition on values that do not fit into 64 bits.
func integers(column string) string {
	return column + " > 9223372036854775807 OR " + column + " < -9223372036854775807"
}

// parameters are the numbers behind a type.
var parameters = regexp.MustCompile(`\((\d+)(?:, ?(-?\d+))?\)`)

// fixed judges a number of fixed digits: without places behind the point it is
// whole, and up to 18 digits it has 64 bits.
func fixed(kind string) holding {
	p := parameters.FindStringSubmatch(kind)
	if p == nil || p[2] != "" && p[2] != "0" {
		return holding{known: true}
	}
	return holding{known: true, whole: true, wide: len(p[1]) > 2 || p[1] > "18" && len(p[1]) == 2}
}

// postgresTypes are the types that PostgreSQL has of its own, as far as somebody
// may take them for keys or dates. Domains and types of others are not known.
var postgresTypes = regexp.MustCompile(`^(text|character|"char"|name|uuid|boolean|bytea|jsonb?|real|double|money|time |interval|bit|inet|cidr|macaddr|xml|oid)`)

func (*postgres) holds(kind string) holding {
	switch {
	case strings.HasSuffix(kind, "[]"):
		return holding{known: true}
	case kind == "smallint" || kind == "integer" || kind == "bigint":
		return holding{known: true, whole: true}
	case strings.HasPrefix(kind, "numeric"):
		return fixed(kind)
	case kind == "date" || strings.HasPrefix(kind, "timestamp"):
		return holding{known: true, moment: true}
	}
	return holding{known: postgresTypes.MatchString(kind)}
}

func (*postgres) beyond(column string) string { return integers(column) }

func (*mariadb) holds(kind string) holding {
	name := strings.ToLower(strings.FieldsFunc(kind, func(r rune) bool { return r == '(' || r == ' ' })[0])
	switch name {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return holding{known: true, whole: true, wide: name == "bigint" && strings.Contains(kind, "unsigned")}
	case "decimal":
		return fixed(kind)
	case "date", "datetime", "timestamp":
		return holding{known: true, moment: true}
	}
	return holding{known: true}
}

func (*mariadb) beyond(column string) string { return integers(column) }

// holds goes by what SQLite makes of the name of a type, which keeps nobody from
// putting a text into a column of integers.
func (*lite) holds(kind string) holding {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToUpper(kind), w) })
	}
	switch {
	case has("INT"):
		return holding{known: true, whole: true, wide: true}
	case has("CHAR", "CLOB", "TEXT"):
		return holding{known: true, moment: true}
	case has("REAL", "FLOA", "DOUB"):
		return holding{known: true}
	}
	return holding{known: true, whole: true, moment: true, wide: true}
}

func (*lite) beyond(column string) string { return "typeof(" + column + ") NOT IN ('integer', 'null')" }
