package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"holdfast/internal/fault"
	"holdfast/internal/roll"
)

// Link is a column's name, or time.
type Link string

func (l *Link) scan(text string) error {
	if text == "" || len(text) > 200 || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return wrong(`write the name of a column with a rising id, like "session_id", or "time"`, "link %q is not a column", text)
	}
	*l = Link(text)
	return nil
}

func (*Link) shape() map[string]any { return map[string]any{"type": "string", "minLength": 1} }

// StreamName is the name of a stream.
type StreamName string

func (n *StreamName) scan(text string) error {
	if !nameForm.MatchString(text) {
		return wrong("name a stream that is configured", "%q cannot be the name of a stream", text)
	}
	*n = StreamName(text)
	return nil
}

func (*StreamName) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": nameForm.String()}
}

// Age is a length of time that may be long.
type Age time.Duration

// maxAge is longer than anything has been kept.
const maxAge = 36500 * 24 * time.Hour

const ageHint = `write it like "400d", "36h" or "90m"`

// String returns a form that scan reads.
func (a Age) String() string {
	d := time.Duration(a)
	if days := d / (24 * time.Hour); days > 0 && d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(days)) + "d"
	}
	return d.String()
}

func (a *Age) scan(text string) error {
	t := strings.TrimSpace(text)
	if days, ok := strings.CutSuffix(t, "d"); ok {
		n, err := strconv.ParseUint(strings.TrimSpace(days), 10, 32)
		if err != nil || time.Duration(n) > maxAge/(24*time.Hour) {
			return wrong(ageHint, "age %q is not one, or too long", text)
		}
		*a = Age(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 || d > maxAge {
		return wrong(ageHint, "age %q is not one, or too long", text)
	}
	*a = Age(d)
	return nil
}

func (*Age) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": `^\s*[0-9.]+ *[a-zµ]`}
}

// defaultUndo is long enough to notice a slip of the hand in the morning.
const defaultUndo = Age(6 * time.Hour)

// Scheduled is a roll, or a closing, that is done again and again.
type Scheduled struct {
	Cron string `yaml:"cron" doc:"When: minute, hour, day of month, month, day of week."`
	Run  string `yaml:"run" doc:"What: roll size ..., roll time ... or archive run FAMILY, as the verb takes it."`

	line string // of the manual
}

// String returns a form that scan reads.
func (s Scheduled) String() string {
	if s.line != "" {
		return s.line
	}
	return "cron=" + strconv.Quote(s.Cron) + " run=" + strconv.Quote(s.Run)
}

// Job returns what is to be done when.
func (s Scheduled) Job() (roll.Job, error) {
	if s.line != "" {
		return roll.ParseJob(s.line)
	}
	return roll.CronJob(s.Cron, s.Run)
}

func (s *Scheduled) scan(text string) error {
	n := Scheduled{line: text}
	_, is, err := n.Closing()
	if !is {
		_, err = n.Job()
	}
	if err != nil {
		f := fault.Of(err)
		return wrong(f.Hint, "%s", f.Message)
	}
	*s = n
	return nil
}

func (*Scheduled) shape() map[string]any {
	text := map[string]any{"type": "string", "minLength": 1}
	return map[string]any{
		"type": []string{"string", "object"}, "minLength": 1, "additionalProperties": false, "properties": map[string]any{"cron": text, "run": text},
	}
}

// judgeRolls sees that streams are tied to what is there, and that what is
// scheduled can be done.
func (c *Config) judgeRolls(add report) {
	for _, name := range c.StreamNames() {
		c.judgeLink(add, name, c.Streams[name])
	}
	for i, s := range c.Schedule {
		key := "schedule." + strconv.Itoa(i)
		if c.judgeSchedule(add, key, s) {
			continue
		}
		job, err := s.Job()
		if err != nil {
			f := fault.Of(err)
			add(key, f.Hint, "%s", f.Message)
			continue
		}
		for _, name := range job.Message.Types() {
			if c.Streams[name] == nil || ownStream(name) {
				add(key, "name streams that are configured", "type %q is no stream that rolls", name)
			}
		}
	}
}

// tiers is what hot and warm may take together; 0: one of them has no size.
func (s *Stream) tiers() Size {
	hot, warm := s.Hot.Budget(), s.Warm.Budget()
	if hot == 0 || s.Warm.Path != "" && warm == 0 {
		return 0
	}
	return hot + warm
}

// judgeLink sees what one stream is tied to, and what of it may roll.
func (c *Config) judgeLink(add report, name string, s *Stream) {
	key, parent := "streams."+name, c.Streams[string(s.Parent)]
	switch {
	case ownStream(name) && (s.Link != "" || s.Parent != "" || s.MaxAge != 0 || s.KeepAtLeast != (KeepAtLeast{}) || s.OnFull != Refuse):
		add(key, "it has hot, min_free and wait", "%q is written by Holdfast alone, and is not rolled", name)
	case s.Link != "" && s.Keep == KeepDelivered:
		add(key+".keep", "remove one of them", "\"keep: delivered\" removes each row by itself, and \"link\" ties rows to those of other streams")
	case s.KeepAtLeast != (KeepAtLeast{}) && s.Keep == KeepDelivered:
		add(key+".keep_at_least", "remove one of them", "\"keep: delivered\" keeps nothing that is delivered")
	case s.KeepAtLeast.Files < 0:
		add(key+".keep_at_least.files", "how many of the newest segments stay, like 10", "%d segments cannot be kept", s.KeepAtLeast.Files)
	case s.tiers() > 0 && s.KeepAtLeast.Bytes > s.tiers():
		add(key+".keep_at_least.bytes", fmt.Sprintf("at most %s; what is kept for good leaves no room for rows", s.tiers()), "%s of segments do not fit into the budget of stream %q", s.KeepAtLeast.Bytes, name)
	case s.Parent == "":
	case parent == nil || string(s.Parent) == name || ownStream(string(s.Parent)):
		add(key+".parent", "name another stream that is configured", "parent %q is no stream that %q can belong to", string(s.Parent), name)
	case s.Link == "" || parent.Link != s.Link:
		add(key+".parent", `give both the same "link"`, "stream %q and its parent %q are not tied by the same link", name, string(s.Parent))
	default:
		up, steps := parent, 0
		for ; up != nil && up.Parent != "" && steps <= len(c.Streams); steps++ {
			up = c.Streams[string(up.Parent)]
		}
		if steps > len(c.Streams) {
			add(key+".parent", "give one of them no parent", "stream %q is its own ancestor", name)
		}
	}
}
