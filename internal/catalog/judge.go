package catalog

import (
	"holdfast/internal/fault"
	"holdfast/internal/typing"
	"holdfast/row"
)

// Judge judges the rows of one schema as its table is defined: immutable, safe
// for concurrent use, and without an allocation for a row that passes.
type Judge struct {
	all     *fault.Error // what every row is refused with
	columns []columnJudge
	lacks   *fault.Error // what every row is refused with whose values are right
}

// columnJudge judges the values of one column.
type columnJudge struct {
	index   int // in the row
	notNull bool
	values  typing.Judge
	hint    string
	table   string
	name    string
}

// Judge returns the judge for rows of a table with these columns, nil where
// nothing is known by which they can be judged. With auto set, tables and
// columns that are not known will be, so they are not refused. It holds as long
// as Generation stays.
func (c *Catalog) Judge(name string, columns []row.Column, auto bool) *Judge {
	t := c.latest.Load().tables[name]
	if t == nil {
		if auto {
			return nil
		}
		return &Judge{all: unknown(name)}
	}
	j := &Judge{}
	given := make(map[string]bool, len(columns))
	for i, col := range columns {
		given[col.Name] = true
		known := t.find(col.Name, auto)
		switch {
		case known == nil && auto:
		case known == nil:
			return &Judge{all: t.noColumn(name, col.Name)}
		case known.Generated:
			return &Judge{all: fault.New(fault.GeneratedAlways, "cannot insert a non-DEFAULT value into column %q", col.Name).
				WithHint("leave it out of the list of columns; the database fills it")}
		default:
			j.add(i, name, known, t.best().origin)
		}
	}
	for _, known := range t.best().columns {
		if known.NotNull && !known.Default && !known.Generated && !given[known.Name] && j.lacks == nil {
			j.lacks = noValue(name, known.Name).WithHint("give it a value: it has no default")
		}
	}
	if len(j.columns) == 0 && j.lacks == nil {
		return nil
	}
	return j
}

// add judges one column, unless every value of it will do.
func (j *Judge) add(i int, table string, c *Column, by Origin) {
	col := columnJudge{index: i, table: table, name: c.Name, notNull: c.NotNull}
	if !c.Inferred {
		col.values = typing.Compile(c.Type)
	}
	if col.values.Any() && !col.notNull {
		return
	}
	whose := "as it was declared"
	if by.How == FromSink {
		whose = "as it is in sink \"" + by.Sink + "\""
	}
	col.hint = "column \"" + c.Name + "\" of table \"" + table + "\" is of type " + c.Type + ", " + whose
	j.columns = append(j.columns, col)
}

// Check returns why a row is refused, nil where it is not. There are as many
// values as the schema has columns. Values are judged before what is missing,
// as PostgreSQL does.
func (j *Judge) Check(values []row.Value) *fault.Error {
	if j.all != nil {
		return j.all
	}
	var missing *columnJudge
	for i := range j.columns {
		c := &j.columns[i]
		v := &values[c.index]
		if v.Null {
			if c.notNull && missing == nil {
				missing = c
			}
			continue
		}
		if err := c.values.Check(v.Text); err != nil {
			return err.WithHint("%s", c.hint)
		}
	}
	if missing != nil {
		return noValue(missing.table, missing.name)
	}
	return j.lacks
}

// noValue is the fault of a column that must have a value.
func noValue(table, column string) *fault.Error {
	return fault.New(fault.NotNullViolation, "null value in column %q of relation %q violates not-null constraint", column, table)
}
