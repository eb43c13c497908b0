// Package closing closes periods of families in a database: it looks at the
// tables, has package archive decide, and runs the statements of package
// dialect in an order that leaves every row readable at every moment, and a
// state that the next run finishes or undoes wherever it is interrupted.
//
//	prepared   twins are there, nothing has moved      the next run drops them
//	switched   twins are in place, rows are being      the next run goes on
//	           sorted, the catalogue knows nothing
//	filling    an archive that lacked tables is    the next run or backfill goes on
//	           being completed
//	leaving    an archive is being dropped         the next run, backfill or drop ends it
//	routing    late rows go into an archive          the next run, backfill or drop ends it
//	reforming  an archive is copied into tables of   the next run, backfill or drop drops the
//	           another engine or compression         copies, or, once they have its names, what was
//	closed     the catalogue lists the archive         done
//
// The state stands in table holdfast_archive_runs, what each archived table
// held in holdfast_archive_tables; both are in the schema of the family.
package closing
