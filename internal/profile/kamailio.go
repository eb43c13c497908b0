package profile

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Kamailio is where a site's tables are derived from.
type Kamailio struct {
	Name    string            // of the configuration, for messages
	Config  io.Reader         // kamailio.cfg
	Defines map[string]string // what kamailio -A sets besides
	// Open opens a file that the configuration includes; nil: none can be.
	Open func(name string) (io.ReadCloser, error)
}

// FromKamailio derives the tables of one site from its kamailio.cfg: the acc
// module's extra columns, and what it renames. What it does not understand is
// an error with file, line and text.
func FromKamailio(k Kamailio) (*Profile, error) {
	r := newReader(k)
	if err := r.file(k.Name, k.Config, 0); err != nil {
		return nil, err
	}
	p, err := Load("kamailio")
	if err != nil {
		return nil, err
	}
	s := site{r.params}
	if err := s.known(); err != nil {
		return nil, err
	}
	if err := s.apply(p); err != nil {
		return nil, err
	}
	return p, p.Validate()
}

// param is one parameter of the acc module; the last one of a name counts.
type param struct {
	name, value, place string
}

func (p param) wrong(format string, args ...any) error {
	return fmt.Errorf("%s: parameter %q of acc is %q: %s", p.place, p.name, p.value, fmt.Sprintf(format, args...))
}

// site is the parameters of one site's acc module.
type site struct{ params []param }

func (s site) get(name, otherwise string) param {
	for _, p := range slices.Backward(s.params) {
		if p.name == name {
			return p
		}
	}
	return param{name: name, value: otherwise}
}

// harmless are parameters that change no table.
var harmless = strings.Fields(`early_media failed_filter report_ack report_cancels detect_direction log_flag log_missed_flag log_level log_facility
	log_extra radius_config radius_flag radius_missed_flag service_type radius_extra diameter_flag diameter_missed_flag diameter_client_host
	diameter_client_port diameter_extra db_flag db_missed_flag db_url db_insert_mode acc_prepare_flag acc_prepare_always reason_from_hf time_format
	failed_transaction_flag cdr_enable cdr_log_enable cdr_start_on_confirmed cdr_on_failed cdr_facility cdr_level cdr_skip cdr_expired_dlg_enable
	cdr_duration_mode acc_extra_nullable cdr_extra_nullable`)

// telling are parameters that change tables, and are understood.
var telling = strings.Fields(`db_table_acc db_table_missed_calls cdrs_table acc_method_column acc_from_tag_column acc_to_tag_column
	acc_callid_column acc_sip_code_column acc_sip_reason_column acc_time_column db_extra multi_leg_info cdr_extra time_mode time_attr time_exten
	cdr_start_id cdr_end_id cdr_duration_id`)

// known refuses parameters whose effect is not known.
func (s site) known() error {
	for _, p := range s.params {
		if !slices.Contains(harmless, p.name) && !slices.Contains(telling, p.name) {
			return p.wrong("it is not known whether it changes a table")
		}
	}
	return nil
}

// apply changes the tables of p to those of the site.
func (s site) apply(p *Profile) error {
	extra, err := s.extra("db_extra")
	if err != nil {
		return err
	}
	legs, err := s.extra("multi_leg_info")
	if err != nil {
		return err
	}
	times, err := s.times()
	if err != nil {
		return err
	}
	cdr, err := s.extra("cdr_extra")
	if err != nil {
		return err
	}
	names := map[string]param{"acc": s.get("db_table_acc", "acc"), "missed_calls": s.get("db_table_missed_calls", "missed_calls"), "acc_cdrs": s.get("cdrs_table", "")}
	var tables []Table
	p.Family = nil
	for _, t := range p.Tables {
		called := names[t.Name]
		if t.Name == "acc_cdrs" {
			t.Columns = append(s.renamed(t.Columns, "cdr_", "_id"), cdr...)
		} else {
			t.Columns = slices.Concat(s.renamed(t.Columns, "acc_", "_column"), times, extra, legs)
		}
		if called.value == "" {
			continue // nothing is written there
		}
		if !name.MatchString(called.value) {
			return called.wrong("it is no name of a table")
		}
		t.Name = called.value
		tables, p.Family = append(tables, t), append(p.Family, t.Name)
	}
	p.Tables = tables
	return nil
}

// renamed gives columns the names that parameters say.
func (s site) renamed(columns []Column, before, behind string) []Column {
	out := slices.Clone(columns)
	for i, c := range out {
		out[i].Name = s.get(before+strings.TrimSuffix(c.Name, "_time")+behind, c.Name).value
		if before == "acc_" {
			out[i].Name = s.get(before+c.Name+behind, c.Name).value
		}
	}
	return out
}

// extra reads "column=$value;column=$value". All values are text, and may be
// missing.
func (s site) extra(parameter string) ([]Column, error) {
	p := s.get(parameter, "")
	var columns []Column
	for _, pair := range splitOutside(p.value) {
		column, value, ok := strings.Cut(pair, "=")
		column = strings.TrimSpace(column)
		if strings.TrimSpace(pair) == "" {
			continue
		}
		if !ok || !strings.HasPrefix(strings.TrimSpace(value), "$") || !name.MatchString(column) {
			return nil, p.wrong("%q is not like column=$value", pair)
		}
		columns = append(columns, Column{Name: column, Type: "text"})
	}
	return columns, nil
}

// splitOutside cuts s at each ; that is not inside parentheses or braces.
func splitOutside(s string) (parts []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth--
		case ';':
			if depth == 0 {
				parts, from = append(parts, s[from:i]), i+1
			}
		}
	}
	return append(parts, s[from:])
}

// times are the columns of time_mode.
func (s site) times() ([]Column, error) {
	mode := s.get("time_mode", "0")
	attr := Column{Name: s.get("time_attr", "time_attr").value}
	n, err := strconv.Atoi(mode.value)
	if err != nil {
		return nil, mode.wrong("it is no number")
	}
	switch n {
	case 0:
		return nil, nil
	case 1:
		attr.Type = "integer"
		return []Column{attr, {Name: s.get("time_exten", "time_exten").value, Type: "integer"}}, nil
	case 2:
		attr.Type, attr.MySQL = "double precision", "double"
	case 3, 4:
		attr.Type = "text" // time_format says what it looks like
	default:
		return nil, mode.wrong("it is none of 0 to 4")
	}
	return []Column{attr}, nil
}
