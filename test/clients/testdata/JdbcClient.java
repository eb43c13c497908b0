import java.io.StringReader;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.UUID;
import org.postgresql.PGConnection;

/** Writes through JDBC, and reports each step. Arguments: the URL, the table, user and password. */
public class JdbcClient {
    interface Work { Object run() throws Exception; }

    static Connection conn;

    static void step(String name, Work work) throws Exception {
        String got;
        try {
            got = String.valueOf(work.run());
        } catch (BatchUpdateException e) {
            got = "BatchUpdateException " + e.getSQLState() + " after " + e.getUpdateCounts().length;
        } catch (SQLException e) {
            got = "SQLSTATE " + e.getSQLState();
        }
        if (!conn.getAutoCommit()) {
            conn.rollback();
            conn.setAutoCommit(true);
        }
        System.out.println("step " + name + ": " + got);
    }

    static int insert(String table, String column, Object value) throws SQLException {
        try (PreparedStatement s = conn.prepareStatement("INSERT INTO " + table + " (tag, \"" + column + "\") VALUES (?, ?)")) {
            s.setString(1, column);
            s.setObject(2, value);
            return s.executeUpdate();
        }
    }

    static int other(String table, String column, Object value) throws SQLException {
        try (PreparedStatement s = conn.prepareStatement("INSERT INTO " + table + " (tag, \"" + column + "\") VALUES (?, ?)")) {
            s.setString(1, column);
            s.setObject(2, value, Types.OTHER);
            return s.executeUpdate();
        }
    }

    static String batch(String table, String tag, int rows, int bad) throws SQLException {
        try (PreparedStatement s = conn.prepareStatement("INSERT INTO " + table + " (tag, i4, n, t, tz) VALUES (?, ?, ?, ?, ?)")) {
            for (int i = 0; i < rows; i++) {
                s.setString(1, i == bad ? null : tag);
                s.setInt(2, i);
                s.setBigDecimal(3, new BigDecimal("1.25").multiply(BigDecimal.valueOf(i)));
                if (i % 3 == 0) s.setNull(4, Types.VARCHAR); else s.setString(4, "it's " + i);
                s.setObject(5, OffsetDateTime.of(2026, 1, 1, i % 24, 0, 0, 0, ZoneOffset.ofHours(1)));
                s.addBatch();
            }
            int[] counts = s.executeBatch();
            StringBuilder b = new StringBuilder(counts.length + " of");
            for (int c : counts) b.append(' ').append(c);
            return b.toString();
        }
    }

    public static void main(String[] args) throws Exception {
        String table = args[1];
        conn = DriverManager.getConnection(args[0], args[2], args[3]);
        System.out.println("version " + conn.getMetaData().getDriverVersion());
        Object[][] values = {
            {"b", true}, {"i2", (short) -7}, {"i4", 2147483647}, {"i8", Long.MIN_VALUE}, {"f4", 1.25f}, {"f8", 1e-300}, {"n", new BigDecimal("123456789.12345")},
            {"nn", new BigDecimal("1E-20")}, {"t", "it's \\ \"x\"\t\n\u00e9"}, {"t", ""}, {"v", "varchar"}, {"c", "ab"}, {"by", new byte[] {0, 1, -1, '\\'}},
            {"d", LocalDate.of(2026, 2, 28)}, {"d", Date.valueOf("2026-03-01")}, {"tm", LocalTime.of(23, 59, 59, 999999000)}, {"ts", LocalDateTime.of(2026, 11, 21, 0, 47, 52, 123456000)},
            {"ts", Timestamp.valueOf("2026-11-21 00:47:52.5")}, {"tz", OffsetDateTime.of(2026, 11, 21, 0, 47, 52, 0, ZoneOffset.ofHoursMinutes(5, 30))},
            {"tz", Timestamp.valueOf("2026-07-01 12:00:00")}, {"u", new UUID(1, 2)}, {"i4", null}, {"t", null}, {"Mixed Case", "x"}, {"f8", 7}, {"i8", 7}, {"n", 7},
            {"i2", 40000}, {"d", "2026-02-30"}, {"c", "too long"}, {"nothing", 1}, {"tag", null},
        };
        for (Object[] v : values)
            step((v[1] == null ? "null" : v[1].getClass().getSimpleName()) + " into " + v[0], () -> insert(table, (String) v[0], v[1]));
        Object[][] others = {{"j", "{\"a\" : 1}"}, {"jb", "{\"b\": [1, null]}"}, {"ip", "10.0.0.0/8"}, {"iv", "3 days"}, {"i4", "7"}, {"i4", "seven"}, {"d", "2026-02-30"}};
        for (Object[] v : others)
            step("untyped into " + v[0], () -> other(table, (String) v[0], v[1]));
        step("array", () -> insert(table, "ai", conn.createArrayOf("int4", new Integer[] {1, -2, null})));
        step("array of text", () -> insert(table, "at", conn.createArrayOf("text", new String[] {"a", "b c", "\""})));
        step("Statement", () -> conn.createStatement().executeUpdate("INSERT INTO " + table + " (tag, t) VALUES ('plain', 'a ? b')"));
        step("the same again", () -> {
            int sum = 0;
            try (PreparedStatement s = conn.prepareStatement("INSERT INTO " + table + " (tag, i4, tz) VALUES (?, ?, ?)")) {
                for (int i = 0; i < 12; i++) { // from the fifth on it is prepared
                    s.setString(1, "again");
                    s.setInt(2, i);
                    s.setTimestamp(3, new Timestamp(i * 1000L));
                    sum += s.executeUpdate();
                }
            }
            return sum;
        });
        step("batch", () -> batch(table, "batch", 300, -1));
        step("batch in a transaction", () -> { conn.setAutoCommit(false); String n = batch(table, "batch, whole", 130, -1); conn.commit(); return n; });
        step("batch with a bad row in a transaction", () -> { conn.setAutoCommit(false); return batch(table, "never", 130, 100); });
        step("batch of statements", () -> {
            try (Statement s = conn.createStatement()) {
                for (int i = 0; i < 3; i++) s.addBatch("INSERT INTO " + table + " (tag, i4) VALUES ('statements', " + i + ")");
                return s.executeBatch().length;
            }
        });
        step("rolled back", () -> { conn.setAutoCommit(false); return insert(table, "t", "never"); });
        step("CopyManager", () -> conn.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("COPY " + table + " (tag, i4, t) FROM STDIN WITH (FORMAT csv)", new StringReader("csv,1,\"a \"\"b\"\"\"\ncsv,,\n")));
        step("CopyManager with a bad line", () -> conn.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("COPY " + table + " (tag, i4, t) FROM STDIN WITH (FORMAT csv)", new StringReader("never,1,x\nnever,x,x\n")));
        step("isValid", () -> conn.isValid(5));
        step("unknown table", () -> insert("nowhere", "t", "x"));
        step("savepoint", () -> {
            conn.setAutoCommit(false);
            insert(table, "t", "never, outer");
            Savepoint s = conn.setSavepoint("s");
            insert(table, "t", "never, inner");
            conn.rollback(s);
            return "rolled back to it";
        });
        step("generated keys", () -> {
            conn.setAutoCommit(false);
            try (PreparedStatement s = conn.prepareStatement("INSERT INTO " + table + " (tag) VALUES (?)", new String[] {"tag"})) {
                s.setString(1, "never");
                s.executeUpdate();
                ResultSet r = s.getGeneratedKeys();
                return r.next() ? r.getString(1) : "none";
            }
        });
        step("SELECT", () -> {
            ResultSet r = conn.createStatement().executeQuery("SELECT count(*) FROM " + table + " WHERE tag = 'plain'");
            return r.next() ? r.getInt(1) : "none";
        });
        step("DatabaseMetaData", () -> conn.getMetaData().getTables(null, "public", table, new String[] {"TABLE"}).next());
        conn.close();
    }
}
