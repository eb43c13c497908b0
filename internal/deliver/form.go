package deliver

import "holdfast/row"

// Former returns what gives rows of a stream the form in which a sink gets them;
// it returns nil for a row that the sink does not take. What it returns is valid
// until its next call. One goroutine uses it at a time.
func (s Shape) Former(stream string) func(*row.Row) *row.Row {
	m := newMold(s, stream)
	return func(r *row.Row) *row.Row {
		m.begin()
		if !m.takes(r) {
			return nil
		}
		return m.shaped(r)
	}
}
