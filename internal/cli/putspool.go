package cli

import (
	"fmt"

	"holdfast/internal/spool"
)

// spoolFile is the most that one file of a spool gets, in bytes; sources of
// spools take as much unless they are told otherwise.
const spoolFile = 16 << 20

// spoolFormats are the formats that put writes to a spool.
var spoolFormats = map[string]spool.Format{"ndjson": spool.NDJSON, "csv": spool.CSV, "flat": spool.Flat, "raw": spool.Raw}

// checkSpool judges the flags of a run that writes to a spool.
func (p *put) checkSpool() error {
	hint := "see holdfast put --help"
	switch {
	case p.http != "" || p.data != "":
		return usage("give one of them", "--spool and --http or --data name two places")
	case p.table == "":
		return usage(hint, "--table is missing")
	case spoolFormats[p.format] == "":
		return usage("ndjson, csv, flat or raw, as the source is configured", "format %q is not known", p.format)
	case len(p.columns) > 0:
		return usage("the source that reads the spool names them", "--columns means nothing to --spool")
	}
	return nil
}

// intoSpool writes standard input to a file of a spool.
func (p *put) intoSpool(env *Env) error {
	name, err := spool.Put(p.spool, p.table, spoolFormats[p.format], env.Stdin, spoolFile)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\n", name)
	return err
}
