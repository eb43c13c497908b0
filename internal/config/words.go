package config

import "log/slog"

// OnFull says what happens to writers when there is no room.
type OnFull string

// Refuse answers 53100 once wait is over.
const Refuse OnFull = "refuse"

// DropOldest lets the oldest rows go although sinks need them, and puts a gap
// in their place.
const DropOldest OnFull = "drop_oldest"

func (o *OnFull) scan(text string) error {
	err := pick("on_full", text, onFulls)
	if err == nil {
		*o = OnFull(text)
	}
	return err
}

func (*OnFull) shape() map[string]any { return enum(onFulls) }

// Keep says how long delivered rows stay.
type Keep string

// KeepRolled keeps delivered rows as history until a roll takes them;
// KeepDelivered removes them as soon as every sink has committed them.
const (
	KeepRolled    Keep = "rolled"
	KeepDelivered Keep = "delivered"
)

func (k *Keep) scan(text string) error {
	err := pick("keep", text, keeps)
	if err == nil {
		*k = Keep(text)
	}
	return err
}

func (*Keep) shape() map[string]any { return enum(keeps) }

// OnRewind says what happens when a sink lacks rows that it once had.
type OnRewind string

// StopOnRewind halts delivery until somebody looked; ReplayOnRewind delivers
// again what is behind the sink's cursor, as far back as rows are kept.
const (
	StopOnRewind   OnRewind = "stop"
	ReplayOnRewind OnRewind = "replay"
)

func (r *OnRewind) scan(text string) error {
	err := pick("on_rewind", text, onRewinds)
	if err == nil {
		*r = OnRewind(text)
	}
	return err
}

func (*OnRewind) shape() map[string]any { return enum(onRewinds) }

// SinkType is a kind of sink.
type SinkType string

// The kinds of sinks.
const (
	SQLite   SinkType = "sqlite"   // an embedded database file
	Postgres SinkType = "postgres" // a PostgreSQL server
	MySQL    SinkType = "mysql"    // a MariaDB or MySQL server
	Mcache   SinkType = "mcache"   // a message cache of OpenXDAS
	Flat     SinkType = "flat"     // flat files, as Kamailio's db_flatstore writes them
	HTTP     SinkType = "http"     // a server that takes batches of NDJSON
)

func (t *SinkType) scan(text string) error {
	err := pick("sink type", text, sinkTypes)
	if err == nil {
		*t = SinkType(text)
	}
	return err
}

func (*SinkType) shape() map[string]any { return enum(sinkTypes) }

// Start says where a sink that has no cursor yet begins.
type Start string

// StartOldest begins with the oldest row kept, StartNow with the next one that
// is taken.
const (
	StartOldest Start = "oldest"
	StartNow    Start = "now"
)

func (s *Start) scan(text string) error {
	err := pick("start", text, starts)
	if err == nil {
		*s = Start(text)
	}
	return err
}

func (*Start) shape() map[string]any { return enum(starts) }

// Unit says what is set aside when a row is refused.
type Unit string

// UnitRow sets the row aside, UnitTransaction the whole transaction that it is
// part of.
const (
	UnitRow         Unit = "row"
	UnitTransaction Unit = "transaction"
)

func (u *Unit) scan(text string) error {
	err := pick("reject_unit", text, units)
	if err == nil {
		*u = Unit(text)
	}
	return err
}

func (*Unit) shape() map[string]any { return enum(units) }

// Create says what becomes of tables and columns that a sink lacks.
type Create string

// CreateAuto creates them; with CreateNever rows for them wait until somebody
// else does.
const (
	CreateAuto  Create = "auto"
	CreateNever Create = "never"
)

func (c *Create) scan(text string) error {
	err := pick("create", text, creates)
	if err == nil {
		*c = Create(text)
	}
	return err
}

func (*Create) shape() map[string]any { return enum(creates) }

// Compress says how the bodies sent to an HTTP sink are compressed.
type Compress string

// CompressNone sends them as they are, CompressGzip with gzip.
const (
	CompressNone Compress = "none"
	CompressGzip Compress = "gzip"
)

func (c *Compress) scan(text string) error {
	err := pick("compress", text, compressions)
	if err == nil {
		*c = Compress(text)
	}
	return err
}

func (*Compress) shape() map[string]any { return enum(compressions) }

// Marks says how values are marked in flat files.
type Marks string

// MarksExact keeps everything apart, NULL from empty too; MarksKamailio writes
// what Kamailio's flatstore does.
const (
	MarksExact    Marks = "exact"
	MarksKamailio Marks = "kamailio"
)

func (m *Marks) scan(text string) error {
	err := pick("marks", text, allMarks)
	if err == nil {
		*m = Marks(text)
	}
	return err
}

func (*Marks) shape() map[string]any { return enum(allMarks) }

// Zone is the zone of the times in file names.
type Zone string

// ZoneUTC is UTC, ZoneLocal the machine's own.
const (
	ZoneUTC   Zone = "utc"
	ZoneLocal Zone = "local"
)

func (z *Zone) scan(text string) error {
	err := pick("zone", text, zones)
	if err == nil {
		*z = Zone(text)
	}
	return err
}

func (*Zone) shape() map[string]any { return enum(zones) }

// LogFormat is "text" or "json".
type LogFormat string

func (f *LogFormat) scan(text string) error {
	err := pick("log format", text, logFormats)
	if err == nil {
		*f = LogFormat(text)
	}
	return err
}

func (*LogFormat) shape() map[string]any { return enum(logFormats) }

// LogLevel is "debug", "info", "warn" or "error", as slog names them.
type LogLevel string

// Slog returns the level as slog has it; info for a word that is none.
func (l LogLevel) Slog() (level slog.Level) {
	_ = level.UnmarshalText([]byte(l)) // scan lets only the four words through
	return level
}

func (l *LogLevel) scan(text string) error {
	err := pick("log level", text, logLevels)
	if err == nil {
		*l = LogLevel(text)
	}
	return err
}

func (*LogLevel) shape() map[string]any { return enum(logLevels) }

var (
	onFulls   = []string{string(Refuse), string(DropOldest)}
	keeps     = []string{string(KeepRolled), string(KeepDelivered)}
	onRewinds = []string{string(StopOnRewind), string(ReplayOnRewind)}
	sinkTypes = []string{string(SQLite), string(Postgres), string(MySQL), string(Flat), string(HTTP), string(Mcache)}
	starts    = []string{string(StartOldest), string(StartNow)}
	units     = []string{string(UnitRow), string(UnitTransaction)}
	creates   = []string{string(CreateAuto), string(CreateNever)}

	allMarks     = []string{string(MarksExact), string(MarksKamailio)}
	zones        = []string{string(ZoneUTC), string(ZoneLocal)}
	compressions = []string{string(CompressNone), string(CompressGzip)}

	logFormats = []string{"text", "json"}
	logLevels  = []string{"debug", "info", "warn", "error"}
)

// later names keys that a later version brings, so that whoever copies them
// from the documentation is told so, and not that they are misspelt. A star
// stands for any name.
var later = []string{
	"families.*.close",
}
