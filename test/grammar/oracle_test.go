package grammar

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// insert is what one row of an INSERT does.
type insert struct {
	table   string
	columns []string
	values  []value
	yields  bool
}

// value is what one column gets. A number may be written in several ways.
type value struct {
	text   string
	null   bool
	number bool
	truth  bool       // TRUE or FALSE
	random bool       // any UUID will do
	known  string     // the type that it has by now, "" for none
	at     *time.Time // of a moment, written as known
}

// errRefused says that PostgreSQL's analysis refuses what its grammar takes.
var errRefused = errors.New("refused by analysis")

// errUnknown says that this oracle cannot tell what a statement means, so the
// door must not take it.
var errUnknown = errors.New("not a plain INSERT")

// meaning returns the rows of a query's INSERTs as PostgreSQL's grammar has them.
func meaning(sql string, columnsOf func(table string) []string) (rows []insert, err error) {
	tree, err := parse(sql)
	if err != nil {
		return nil, err
	}
	for _, s := range tree.Stmts {
		in := s.Stmt.GetInsertStmt()
		if in == nil && (s.Stmt.GetSelectStmt() != nil || commits(s.Stmt.GetTransactionStmt())) {
			continue // the door answers some, and stores nothing for any
		}
		if in == nil {
			return nil, errUnknown
		}
		some, err := insertOf(in, columnsOf)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// commits reports whether a statement ends an implicit transaction as the end
// of its query would.
func commits(t *pg.TransactionStmt) bool {
	return t != nil && t.Kind == pg.TransactionStmtKind_TRANS_STMT_COMMIT && !t.Chain
}

// parse returns PostgreSQL's tree. The library takes comments for words, and so
// does not join literals that have one between them, as PostgreSQL does: there
// blanks take their place.
func parse(sql string) (*pg.ParseResult, error) {
	tree, err := pg.Parse(sql)
	if err == nil || !strings.Contains(sql, "--") {
		return tree, err
	}
	words, bad := pg.Scan(sql)
	if bad != nil {
		return nil, err
	}
	plain := []byte(sql)
	for _, w := range words.Tokens {
		if w.Token == pg.Token_SQL_COMMENT {
			for i := w.Start; i < w.End; i++ {
				plain[i] = ' '
			}
		}
	}
	return pg.Parse(string(plain))
}

func insertOf(in *pg.InsertStmt, columnsOf func(table string) []string) ([]insert, error) {
	one := insert{table: in.Relation.Relname}
	sel := in.SelectStmt.GetSelectStmt()
	switch c := in.OnConflictClause; {
	case c == nil:
	case c.Action == pg.OnConflictAction_ONCONFLICT_NOTHING && c.Infer == nil:
		one.yields = true
	default:
		return nil, errUnknown
	}
	switch {
	case sel == nil || len(sel.ValuesLists) == 0, in.WithClause != nil, len(in.ReturningList) > 0, in.Relation.Alias != nil,
		in.Relation.Catalogname != "", in.Relation.Schemaname != "" && in.Relation.Schemaname != "public",
		in.Override > pg.OverridingKind_OVERRIDING_NOT_SET,
		sel.WithClause != nil, sel.SortClause != nil, sel.LimitCount != nil, sel.LimitOffset != nil, sel.LockingClause != nil,
		sel.Op > pg.SetOperation_SETOP_NONE:
		return nil, errUnknown
	}
	for _, c := range in.Cols {
		t := c.GetResTarget()
		if len(t.Indirection) > 0 {
			return nil, errUnknown
		}
		if slices.Contains(one.columns, t.Name) {
			return nil, errRefused
		}
		one.columns = append(one.columns, t.Name)
	}
	var rows []insert
	for i, list := range sel.ValuesLists {
		items := list.GetList().Items
		if i == 0 && one.columns == nil {
			all := columnsOf(one.table)
			if len(items) > len(all) {
				return nil, errRefused
			}
			one.columns = all[:len(items)]
		}
		if len(items) != len(one.columns) {
			return nil, errRefused
		}
		row := insert{table: one.table, yields: one.yields}
		for j, item := range items {
			if item.GetSetToDefault() != nil {
				continue
			}
			v, err := valueOf(item)
			if err != nil {
				return nil, err
			}
			row.columns, row.values = append(row.columns, one.columns[j]), append(row.values, v)
		}
		if len(row.columns) == 0 {
			return nil, errUnknown
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// valueOf evaluates what the door takes for a value.
func valueOf(n *pg.Node) (value, error) {
	switch {
	case n.GetAConst() != nil:
		return constant(n.GetAConst())
	case n.GetTypeCast() != nil:
		return cast(n.GetTypeCast())
	case n.GetAExpr() != nil:
		return expression(n.GetAExpr())
	case n.GetFuncCall() != nil:
		return function(n.GetFuncCall())
	case n.GetSqlvalueFunction() != nil:
		f := n.GetSqlvalueFunction()
		switch f.Op {
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP:
			return clock("timestamptz")
		case pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP:
			return clock("timestamp")
		case pg.SQLValueFunctionOp_SVFOP_LOCALTIME:
			return clock("time")
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE:
			return clock("date")
		}
	case n.GetAArrayExpr() != nil:
		return array(n.GetAArrayExpr().Elements)
	case n.GetSetToDefault() != nil, n.GetParamRef() != nil:
		return value{}, errRefused
	}
	return value{}, errUnknown
}

// now is the moment of all tests.
var now = time.Date(2026, 11, 21, 0, 4, 56, 789_000_000, time.UTC)

// layouts are how moments are written.
var layouts = map[string]string{"timestamptz": "2006-01-02 15:04:05.999999+00", "timestamp": "2006-01-02 15:04:05.999999", "date": "2006-01-02", "time": "15:04:05.999999"}

func moment(at time.Time, as string) (value, error) {
	return value{text: at.Format(layouts[as]), known: as, at: &at}, nil
}

func clock(as string) (value, error) { return moment(now, as) }

// words are texts that name a moment.
func wordOf(text string) (time.Time, bool) {
	day := now.Truncate(24 * time.Hour)
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "now":
		return now, true
	case "today":
		return day, true
	case "tomorrow":
		return day.AddDate(0, 0, 1), true
	case "yesterday":
		return day.AddDate(0, 0, -1), true
	}
	return day, false
}

func constant(c *pg.A_Const) (value, error) {
	switch {
	case c.Isnull:
		return value{null: true}, nil
	case c.GetIval() != nil:
		return value{text: fmt.Sprint(c.GetIval().Ival), number: true}, nil
	case c.GetFval() != nil:
		return value{text: c.GetFval().Fval, number: true}, nil
	case c.GetBoolval() != nil:
		return value{text: map[bool]string{true: "t", false: "f"}[c.GetBoolval().Boolval], known: "bool", truth: true}, nil
	case c.GetSval() != nil:
		return value{text: c.GetSval().Sval}, nil
	case c.GetBsval() != nil:
		return bits(c.GetBsval().Bsval)
	}
	return value{}, errUnknown
}

// array is ARRAY[...] of texts, of plain numbers, or of booleans.
func array(elements []*pg.Node) (value, error) {
	kind, texts := "", []string{}
	for _, e := range elements {
		v, err := valueOf(e)
		if err != nil {
			return v, err
		}
		of := "text[]"
		switch {
		case v.null && v.known == "":
			texts = append(texts, "NULL")
			continue
		case v.number && v.known == "" && !strings.ContainsAny(v.text, "eE"):
			of, v.text = "int4[]", plain(v.text)
			switch digits := len(strings.TrimPrefix(v.text, "-")); {
			case strings.Contains(v.text, ".") || digits > 18:
				of = "numeric[]"
			case digits > 9:
				of = "int8[]"
			}
		case v.truth:
			of = "bool[]"
		case v.number, v.random, v.at != nil, v.known != "" && v.known != "text":
			return v, errUnknown
		}
		numbers := []string{"int4[]", "int8[]", "numeric[]"}
		old, is := slices.Index(numbers, kind), slices.Index(numbers, of)
		if kind != "" && kind != of && (old < 0 || is < 0) {
			return v, errUnknown
		}
		if kind == "" || is > old {
			kind = of
		}
		if v.text == "" || strings.EqualFold(v.text, "null") || strings.ContainsAny(v.text, "{}\",\\ \t\n\r\f\v") {
			v.text = `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(v.text) + `"`
		}
		texts = append(texts, v.text)
	}
	if len(elements) == 0 {
		return value{}, errUnknown
	}
	if kind == "" {
		kind = "text[]"
	}
	return value{text: "{" + strings.Join(texts, ",") + "}", known: kind}, nil
}

// bits is a bit string: b101, or x1F.
func bits(text string) (value, error) {
	var b strings.Builder
	for _, c := range text[1:] {
		d := strings.IndexRune("0123456789abcdef", c|0x20)
		if c >= '0' && c <= '9' {
			d = int(c - '0')
		}
		switch {
		case text[0] == 'b' && (d == 0 || d == 1):
			fmt.Fprintf(&b, "%b", d)
		case text[0] == 'x' && d >= 0:
			fmt.Fprintf(&b, "%04b", d)
		default:
			return value{}, errRefused
		}
	}
	return value{text: b.String(), known: "bit"}, nil
}

// cast changes how some values are written.
func cast(c *pg.TypeCast) (value, error) {
	t := c.TypeName
	v, err := valueOf(c.Arg)
	if err != nil {
		return v, err
	}
	name := t.Names[len(t.Names)-1].GetString_().Sval
	if len(t.ArrayBounds) > 0 {
		name += "[]"
	}
	isText := slices.Contains([]string{"text", "varchar", "name", "bpchar"}, name)
	_, isTime := layouts[name]
	known := name
	if isText && name != "bpchar" {
		known = "text"
	}
	same := v.known == "" || v.known == "text" || v.known == known
	switch {
	case t.Setof, t.PctType, !v.null && len(t.Typmods) > 0:
		return v, errUnknown
	case v.at != nil:
		if !isTime || v.known == "time" && name != "time" || v.known == "date" && name == "time" {
			return v, errUnknown
		}
		if v.known == "date" {
			return moment(v.at.Truncate(24*time.Hour), name)
		}
		return moment(*v.at, name)
	case v.random && (isText || name == "uuid"):
		return v, nil
	case v.truth && isText:
		v.truth, v.text = false, map[string]string{"t": "true", "f": "false"}[v.text]
	case !same:
		return v, errUnknown
	case v.number && isText && v.known == "":
		v.text, v.number = plain(v.text), false
	case v.number && !slices.Contains([]string{"int2", "int4", "int8", "numeric", "float4", "float8", "oid"}, name):
		return v, errUnknown
	case isTime && !v.null:
		if at, ok := wordOf(v.text); ok {
			return moment(at, name)
		}
	}
	if v.known = known; name == "bpchar" {
		v.text = strings.TrimRight(v.text, " ")
	}
	return v, nil
}

// plain is a number as PostgreSQL prints it.
func plain(number string) string {
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return number
	}
	_, behind, _ := strings.Cut(number, ".")
	behind, exponent, _ := strings.Cut(strings.ToLower(behind), "e")
	if _, e, ok := strings.Cut(strings.ToLower(number), "e"); ok {
		exponent = e
	}
	scale := len(behind)
	if exponent != "" {
		var e int
		if _, err := fmt.Sscan(exponent, &e); err != nil {
			return number
		}
		scale = max(0, scale-e)
	}
	return r.FloatString(scale)
}

func expression(e *pg.A_Expr) (value, error) {
	if e.Kind == pg.A_Expr_Kind_AEXPR_NULLIF {
		a, err := valueOf(e.Lexpr)
		if err != nil {
			return a, err
		}
		b, err := valueOf(e.Rexpr)
		if err != nil {
			return b, err
		}
		switch {
		case a.number != b.number && !a.null && !b.null, a.known != "" && a.known != "text", b.known != "" && b.known != "text":
			return a, errUnknown
		case !b.null && (a.text == b.text || a.number && equal(a.text, b.text)):
			return value{null: true, known: map[bool]string{true: "numeric", false: "text"}[a.number]}, nil
		}
		if a.known = "text"; a.number || b.number {
			a.known = "numeric"
		}
		return a, nil
	}
	if e.Kind != pg.A_Expr_Kind_AEXPR_OP || e.Lexpr != nil || len(e.Name) != 1 {
		return value{}, errUnknown
	}
	v, err := valueOf(e.Rexpr)
	switch op := e.Name[0].GetString_().Sval; {
	case err != nil:
		return v, err
	case op == "+" && v.number:
		return v, nil
	case op == "-" && v.number:
		if text, minus := strings.CutPrefix(v.text, "-"); minus {
			v.text = text
		} else {
			v.text = "-" + v.text
		}
		return v, nil
	}
	return v, errUnknown
}

func function(f *pg.FuncCall) (value, error) {
	name := f.Funcname[len(f.Funcname)-1].GetString_().Sval
	if len(f.Funcname) > 2 || len(f.Funcname) == 2 && f.Funcname[0].GetString_().Sval != "pg_catalog" || f.AggStar || f.AggDistinct ||
		f.AggOrder != nil || f.AggFilter != nil || f.Over != nil || f.FuncVariadic {
		return value{}, errUnknown
	}
	switch {
	case slices.Contains([]string{"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp"}, name) && len(f.Args) == 0:
		return clock("timestamptz")
	case name == "gen_random_uuid" && len(f.Args) == 0:
		return value{random: true, known: "uuid"}, nil
	case name == "to_timestamp" && len(f.Args) == 1:
		v, err := valueOf(f.Args[0])
		switch {
		case err != nil:
			return v, err
		case v.null && (v.known == "" || v.known == "numeric" || strings.HasPrefix(v.known, "int") || strings.HasPrefix(v.known, "float")):
			return value{null: true, known: "timestamptz"}, nil
		case !v.number:
			return v, errUnknown
		}
		seconds, err := strconv.ParseFloat(v.text, 64)
		if err != nil {
			return v, errRefused
		}
		return moment(time.UnixMicro(int64(math.RoundToEven((seconds-946684800)*1e6))+946684800e6).UTC(), "timestamptz")
	}
	return value{}, errUnknown
}
