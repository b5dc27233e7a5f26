-- Makes the database for a Holdfast cluster on SQL Server 2019 or 2022, and the log-in of its nodes. For an administrator,
-- once; may be repeated: what is as it should be is left as it is, and an option that is not is set. Then roles.sql, in the
-- database. On Azure SQL: azure-sql.sql instead of both.
--
--     sqlcmd -S SERVER -E -b -i database.sql -v PASSWORD="..."
--     sqlcmd -S SERVER -E -b -d holdfast -i roles.sql
--
-- In an availability group: run this on the primary, add the database to the group, and make the log-in on each other
-- replica with the same SID (`SELECT sid FROM sys.server_principals WHERE name = N'holdfast'`, then
-- `CREATE LOGIN holdfast WITH PASSWORD = ..., SID = 0x...`), or nodes are refused after a failover.
IF DB_ID(N'holdfast') IS NULL
    CREATE DATABASE holdfast;
GO
-- Reads see versions and never wait for a commit. The store's fence reads under locks, whatever stands here. Changing it
-- takes the database for itself alone: whoever is connected is put out.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'holdfast' AND is_read_committed_snapshot_on = 0)
    ALTER DATABASE holdfast SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE;
GO
-- An acknowledgement follows a commit that is on disk. FORCED is refused by the nodes.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'holdfast' AND delayed_durability <> 0)
    ALTER DATABASE holdfast SET DELAYED_DURABILITY = DISABLED;
GO
-- 1 is FULL.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'holdfast' AND recovery_model <> 1)
    ALTER DATABASE holdfast SET RECOVERY FULL;
GO
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'holdfast' AND is_auto_close_on = 1)
    ALTER DATABASE holdfast SET AUTO_CLOSE OFF;
GO
IF SUSER_ID(N'holdfast') IS NULL
    CREATE LOGIN holdfast WITH PASSWORD = N'$(PASSWORD)', DEFAULT_DATABASE = holdfast, CHECK_POLICY = ON;
GO
