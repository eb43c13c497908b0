-- one linked event per second of [$1, $2], every table with its own share
WITH g AS (SELECT g AS s FROM generate_series($1::integer, $2::integer) g ORDER BY g),
 dta AS (INSERT INTO discount_transactions_all (account_id, discount, service_type, discount_date) SELECT s % 100, s % 7 + 0.25, s % 4, s FROM g RETURNING id, account_id, discount, service_type, discount_date),
 ip AS (INSERT INTO discount_transactions_iptraffic_all (id, account_id, discount, discount_date, bytes) SELECT id, account_id, discount, discount_date, 1000 FROM dta WHERE service_type = 3),
 tl AS (INSERT INTO tel_sessions_log (account_id, recv_date) SELECT s % 100, s FROM g WHERE s % 2 = 0 RETURNING id, recv_date),
 td AS (INSERT INTO tel_sessions_detail (dhs_sess_id, recv_date, duration) SELECT id, recv_date + 500, 60 FROM tl, generate_series(1, 2) ORDER BY id),
 dl AS (INSERT INTO dhs_sessions_log (account_id, recv_date, framed_ip_address) SELECT s % 100, s, '10.0.0.1' FROM g WHERE s % 3 = 0 RETURNING id, recv_date),
 dd AS (INSERT INTO dhs_sessions_detail (dhs_sess_id, recv_date, duration) SELECT id, recv_date - 500, 60 FROM dl ORDER BY id),
 pt AS (INSERT INTO payment_transactions (account_id, payment_absolute, payment_enter_date, payment_ext_number) SELECT s % 100, 10, s, 'p' || s || random() FROM g WHERE s % 5 = 0),
 ul AS (INSERT INTO user_log (user_id, date, what) SELECT s % 9, s, 'it''s; --' FROM g WHERE s % 2 = 1),
 dh AS (INSERT INTO dhcp_leases_log (ip, updated) SELECT s, s FROM g WHERE s % 4 = 0),
 inv AS (INSERT INTO invoices (invoice_date, account_id) SELECT s, s % 100 FROM g WHERE s % 6 = 0 RETURNING id),
 ie AS (INSERT INTO invoice_entry (invoice_id, name) SELECT id, 'traffic' FROM inv, generate_series(1, 2) ORDER BY id RETURNING id)
INSERT INTO invoice_entry_details (entry_id, type, value) SELECT id, t, 'v' FROM ie, generate_series(1, 2) t ORDER BY id
